/** Artifact as the server sends it: a field at its default is left out. */

import type { Condition, Obj } from '@/api/objects'

export type ArtifactSpec = {
  name: string
  version: string
  type?: 'zip' | 'image'
  sha256?: string
  size?: number
  image?: string
  entry?: string
  services?: { name: string; port: number; protocol?: string; version?: string }[]
  ports?: { name: string; container: number; host: number; serviceName?: string; protocol?: string }[]
  metadata?: Record<string, string>
  description?: string
}

export type ArtifactStatus = { url?: string; storedAt?: string; conditions?: Condition[] }

export type Artifact = Obj<ArtifactSpec, ArtifactStatus>
