/** Names that completions offer: what is there now, read when somebody first asks for it. */
import { computed, ref, shallowRef, type ComputedRef } from 'vue'
import { at, kinds, useList } from '@/api'
import { BUILTINS } from '@/components/form/references'
import { loadSchema, type KindSchema } from '@/components/yaml/schema'
import { paramsOf } from '../../runs/model/params'
import { isMap, nameOf } from '../model/definition'
import type { Known } from './completions'
import type { Editor } from './useEditor'

/** `ask` begins to read; the names come when they are there. */
export function useKnown(editor: Editor, namespace: () => string): { known: ComputedRef<Known>; ask: () => void } {
  const asked = ref(false)
  const schema = shallowRef<KindSchema>()
  const here = () => ({ namespace: namespace(), enabled: asked.value })
  const tasks = useList(kinds.TaskDefinition, here)
  const workflows = useList(kinds.Workflow, here)
  const secrets = useList(kinds.Secret, here)
  const services = useList(kinds.Service, here)
  const resources = useList(kinds.Resource, here)
  const workers = useList(kinds.Worker, here)
  const nodes = useList(kinds.Node, () => ({ enabled: asked.value }))
  const names = (items: readonly { metadata: { name: string } }[]): string[] => items.map((item) => item.metadata.name).sort()
  function ask(): void {
    if (asked.value) return
    asked.value = true
    loadSchema('plum.dev/v1', 'Workflow').then((found) => (schema.value = found)).catch(() => undefined)
  }
  const offered = computed(() => [...new Set(workers.items.value.flatMap((one) => (at(one, 'spec', 'tasks') as string[] | undefined) ?? []))].sort())
  const known = computed<Known>(() => ({
    names: {
      taskRef: [...names(tasks.items.value), ...BUILTINS], task: [...offered.value, ...names(tasks.items.value)], agent: offered.value, workflowRef: names(workflows.items.value),
      node: editor.nodes.value.map(nameOf), nodeName: names(nodes.items.value), resource: names(resources.items.value), resourceRef: names(resources.items.value),
      service: names(services.items.value), secret: names(secrets.items.value), kind: Object.keys(kinds).sort(),
    },
    params: paramsOf(editor.spec.value).map((param) => param.name),
    variables: isMap(editor.spec.value.variables) ? Object.keys(editor.spec.value.variables) : [],
    secrets: Object.fromEntries(secrets.items.value.map((one) => [one.metadata.name, Object.keys((at(one, 'data') as object | undefined) ?? {})])),
    methods: Object.fromEntries(resources.items.value.map((one) => [one.metadata.name, ((at(one, 'spec', 'model', 'operations') as { name: string }[] | undefined) ?? []).map((each) => each.name)])),
    object: editor.object.value,
    schema: schema.value,
  }))
  return { known, ask }
}
