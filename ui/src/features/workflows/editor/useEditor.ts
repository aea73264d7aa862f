/**
 * What is edited: one text, and what follows from it. The form, the graph and the YAML pane all change the text; all read it.
 *
 *     command --patchYaml--> text --parse--> spec --> graph, problems         typing --> text
 *
 * While the text has a syntax error the graph shows the last definition that could be read, and cannot be changed.
 */
import { computed, ref, shallowRef, watch } from 'vue'
import type { ComputedRef, Ref, ShallowRef } from 'vue'
import { parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { checkDefinition } from '../model/checks'
import type { Problem } from '../model/checks'
import type { Json } from '@/components/yaml/json'
import type { Spec } from '../model/commands'
import { MAIN, graphAt, hasScope, isMap, nameOf } from '../model/definition'
import type { JsonMap, RawNode, Scope } from '../model/definition'
import { TextHistory } from '../model/history'
import { nodeOf } from '../model/locate'
import { patchYaml } from '@/components/yaml/patch/patch'

/** Something that is wrong, from here or from the server, in words. */
export interface ShownProblem {
  field: string
  message: string
  source: 'here' | 'server' | 'syntax'
  from?: number
  node: { scope: Scope; node: string } | null
}

export interface Editor {
  text: ShallowRef<string>
  document: ComputedRef<Document>
  object: ComputedRef<JsonMap>
  spec: ComputedRef<Spec>
  syntaxError: Ref<{ message: string; from: number } | null>
  problems: ComputedRef<readonly Problem[]>
  scope: Ref<Scope>
  nodes: ComputedRef<RawNode[]>
  selected: Ref<string[]>
  selectedLink: Ref<string>
  canUndo: Ref<boolean>
  canRedo: Ref<boolean>
  changed: ComputedRef<boolean>
  /** The text that counts as saved. */
  saved: ShallowRef<string>
  run: (command: (spec: Spec) => Spec, options?: { merge?: string; select?: string[] }) => void
  type: (text: string) => void
  undo: () => void
  redo: () => void
  /** Begin with another text. */
  load: (text: string) => void
  enter: (scope: Scope) => void
  placeOfField: (field: string) => { scope: Scope; node: string } | null
}

/** Characters above which a text is read when the hands rest, not with every key. */
const LARGE = 60_000
const REST = 250

/** `known` is the value of the text, where somebody has it: then the text is not read before it changes. */
export function useEditor(initial: string, known?: JsonMap): Editor {
  const history = new TextHistory(initial)
  const text = shallowRef(initial)
  const saved = shallowRef(initial)
  /** The last text that could be read. Its document is made when somebody asks for a place in it. */
  const readable = shallowRef(initial)
  let parsed: { text: string; document: Document } | undefined
  const document = computed<Document>(() => {
    if (parsed?.text !== readable.value) parsed = { text: readable.value, document: parseDocument(readable.value, { logLevel: 'silent', prettyErrors: false }) }
    return parsed.document
  })
  const value = shallowRef<JsonMap>(known ?? {})
  const syntaxError = ref<{ message: string; from: number } | null>(null)
  const scope = ref<Scope>(MAIN)
  const selected = ref<string[]>([])
  const selectedLink = ref('')
  const canUndo = ref(false)
  const canRedo = ref(false)

  function read(): void {
    const now = parseDocument(text.value, { logLevel: 'silent', prettyErrors: false })
    const error = now.errors[0]
    if (error) {
      syntaxError.value = { message: error.message, from: error.pos[0] }
      return
    }
    const found = now.toJS() as Json
    syntaxError.value = null
    parsed = { text: text.value, document: now }
    readable.value = text.value
    take(isMap(found) ? found : {})
  }
  function take(next: JsonMap): void {
    value.value = next
    if (!hasScope(value.value.spec, scope.value)) scope.value = MAIN
    const names = new Set(graphAt(value.value.spec, scope.value).map(nameOf))
    if (selected.value.some((name) => !names.has(name))) selected.value = selected.value.filter((name) => names.has(name))
  }
  if (!known) read()

  let resting: ReturnType<typeof setTimeout> | undefined
  /** `next` is the value of the text, where it is known. */
  function show(next: string, knownValue?: JsonMap, later = false): void {
    text.value = next
    canUndo.value = history.canUndo
    canRedo.value = history.canRedo
    clearTimeout(resting)
    if (knownValue) {
      syntaxError.value = null
      readable.value = next
      take(knownValue)
    } else if (later && next.length > LARGE) resting = setTimeout(read, REST)
    else read()
  }
  /** What is still being typed counts before anything else is done. */
  function settle(): void {
    clearTimeout(resting)
    if (readable.value !== text.value && !syntaxError.value) read()
  }

  const spec = computed<Spec>(() => (isMap(value.value.spec) ? value.value.spec : {}))
  const problems = shallowRef<readonly Problem[]>([])
  let timer: ReturnType<typeof setTimeout> | undefined
  watch(
    spec,
    (now) => {
      clearTimeout(timer)
      // A large graph is judged when the hands rest.
      const wait = graphAt(now, MAIN).length > 200 ? 600 : 0
      if (wait) timer = setTimeout(() => (problems.value = checkDefinition(now)), wait)
      else problems.value = checkDefinition(now)
    },
    { immediate: true },
  )

  return {
    text, document, saved, spec, syntaxError, scope, selected, selectedLink, canUndo, canRedo,
    object: computed(() => value.value),
    problems: computed(() => problems.value),
    nodes: computed(() => graphAt(spec.value, scope.value)),
    changed: computed(() => text.value !== saved.value),
    run(command, { merge = '', select } = {}) {
      settle()
      if (syntaxError.value) return
      const before = [...selected.value]
      const wantedValue = { ...value.value, spec: command(spec.value) }
      const next = patchYaml(text.value, wantedValue)
      if (select) selected.value = select
      history.push(next, Date.now(), merge, before, select ?? before)
      const wanted = selected.value
      show(next, wantedValue)
      if (select) selected.value = wanted
    },
    type(next) {
      history.push(next, Date.now(), 'typing', [...selected.value])
      show(next, undefined, true)
    },
    undo() {
      const step = history.undo()
      if (step) {
        show(step.text)
        selected.value = [...step.selection]
      }
    },
    redo() {
      const step = history.redo()
      if (step) {
        show(step.text)
        selected.value = [...step.selection]
      }
    },
    load(next) {
      history.reset(next)
      saved.value = next
      selected.value = []
      selectedLink.value = ''
      show(next)
    },
    enter(next) {
      scope.value = next
      selected.value = []
      selectedLink.value = ''
    },
    placeOfField(field) {
      return nodeOf(spec.value, field)
    },
  }
}
