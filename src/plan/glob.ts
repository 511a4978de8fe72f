/**
 * Globs on tensor names, as ripgrep's users know them: `*` any run of characters but `/`, `**` any run at all, `?`
 * one character but `/`, `[a-z]` and `[!a-z]` classes, `{a,b}` alternatives (they may nest), `\` takes the next
 * character as it is. A glob fits a whole name. Names of tensors have dots, so `model.layers.*.mlp` covers every
 * layer.
 *
 * A glob becomes a small automaton whose states are followed all at once: the time is at most the length of the name
 * times the length of the glob, whatever both hold.
 */
import { UsageError } from "../errors.ts"

/** A longer glob is a mistake, and would make matching slow. */
const GLOB_LENGTH_MAX = 4096

/** What a state does with one character, by its code point. */
type Test = (codePoint: number) => boolean

interface State {
  /** Consumes one character and goes on to the next state. */
  test?: Test
  /** States reached without a character. */
  readonly free: number[]
}

const SLASH = "/".codePointAt(0)!
const notSlash: Test = (codePoint) => codePoint !== SLASH
const anything: Test = () => true

/** Turns a glob into a predicate on whole names. Throws UsageError where it is not well formed. */
export function compileGlob(glob: string): (name: string) => boolean {
  if (glob.length > GLOB_LENGTH_MAX) {
    throw new UsageError(`glob of ${glob.length} characters is too long (at most ${GLOB_LENGTH_MAX})`)
  }
  const states = new Compiler(glob).compile()
  return (name) => run(states, name)
}

/** True for names that one of the globs fits; no globs: `empty`. */
export function compileGlobs(globs: readonly string[], empty: boolean): (name: string) => boolean {
  if (globs.length === 0) return () => empty
  // A list of plain names, which may be as long as a model has weights, takes one look-up.
  const plain = new Set(globs.filter((glob) => !/[*?[\]{}\\]/.test(glob)))
  const predicates = globs.filter((glob) => !plain.has(glob)).map(compileGlob)
  return (name) => plain.has(name) || predicates.some((predicate) => predicate(name))
}

/** The glob that fits this name alone. */
export function escapeGlob(name: string): string {
  return name.replace(/[*?[\]{}\\,]/g, "\\$&")
}

interface Alternatives {
  /** State in which every alternative starts. */
  readonly start: number
  /** Last state of each alternative that is complete. */
  readonly ends: number[]
}

class Compiler {
  readonly #glob: string
  readonly #characters: readonly string[]
  /** A test leads from its state to the next one; the last state is the one in which the next character starts. */
  readonly #states: State[] = [{ free: [] }]
  #position = 0

  constructor(glob: string) {
    this.#glob = glob
    this.#characters = [...glob]
  }

  /** The last state is the one that accepts. */
  compile(): readonly State[] {
    const open: Alternatives[] = []
    while (this.#position < this.#characters.length) {
      const character = this.#take()
      if (character === "*") this.#star()
      else if (character === "?") this.#consume(notSlash)
      else if (character === "[") this.#consume(this.#class())
      else if (character === "{") open.push({ start: this.#current, ends: [] })
      else if (character === "," && open.length > 0) this.#nextAlternative(open.at(-1)!)
      else if (character === "}") this.#closeAlternatives(open.pop())
      else this.#consume(literal(character === "\\" ? this.#escaped() : character))
    }
    if (open.length > 0) this.#fail("'{' without '}'")
    return this.#states
  }

  #take(): string {
    return this.#characters[this.#position++]!
  }

  get #current(): number {
    return this.#states.length - 1
  }

  #add(): number {
    return this.#states.push({ free: [] }) - 1
  }

  /** The current state takes one character that passes the test. */
  #consume(test: Test): void {
    this.#states[this.#current]!.test = test
    this.#add()
  }

  /** A loop on its own state: free entry, any number of characters, free exit. */
  #loop(test: Test): void {
    const from = this.#current
    const body = this.#add()
    this.#consume(test)
    this.#states[this.#current]!.free.push(body)
    const exit = this.#add()
    this.#states[body]!.free.push(exit)
    this.#states[from]!.free.push(body)
  }

  #star(): void {
    if (this.#characters[this.#position] === "*") this.#starStar()
    else this.#loop(notSlash)
  }

  #starStar(): void {
    const before = this.#characters[this.#position - 2]
    while (this.#characters[this.#position] === "*") this.#position += 1
    const start = this.#current
    this.#loop(anything)
    // `**/` at the start of a component fits no component as well: "**/x" fits "x".
    if (this.#characters[this.#position] === "/" && (before === undefined || before === "/")) {
      this.#position += 1
      this.#consume(literal("/"))
      this.#states[start]!.free.push(this.#current)
    }
  }

  #nextAlternative(alternatives: Alternatives): void {
    alternatives.ends.push(this.#current)
    this.#states[alternatives.start]!.free.push(this.#add())
  }

  #closeAlternatives(alternatives: Alternatives | undefined): void {
    if (alternatives === undefined) this.#fail("'}' without '{'")
    const ends = [...alternatives.ends, this.#current]
    const exit = this.#add()
    for (const end of ends) this.#states[end]!.free.push(exit)
  }

  #escaped(): string {
    if (this.#position === this.#characters.length) this.#fail("'\\' at the end")
    return this.#take()
  }

  /** What follows `[`, up to its `]`; a `]` in the first place is a member. */
  #class(): Test {
    const negated = this.#characters[this.#position] === "!" || this.#characters[this.#position] === "^"
    if (negated) this.#position += 1
    const ranges: [first: number, last: number][] = []
    for (;;) {
      if (this.#position === this.#characters.length) this.#fail("'[' without ']'")
      const character = this.#take()
      if (character === "]" && ranges.length > 0) break
      const first = (character === "\\" ? this.#escaped() : character).codePointAt(0)!
      ranges.push([first, this.#rangeEnd(first)])
    }
    return (codePoint) =>
      codePoint !== SLASH && ranges.some(([first, last]) => first <= codePoint && codePoint <= last) !== negated
  }

  /** Last member of a range that starts with `first`; `first` itself where no range follows. */
  #rangeEnd(first: number): number {
    const next = this.#characters[this.#position + 1]
    if (this.#characters[this.#position] !== "-" || next === undefined || next === "]") return first
    this.#position += 1
    const character = this.#take()
    const last = (character === "\\" ? this.#escaped() : character).codePointAt(0)!
    if (last < first) this.#fail("a range in '[…]' ends before it starts")
    return last
  }

  #fail(what: string): never {
    throw new UsageError(`glob ${JSON.stringify(this.#glob)}: ${what}`)
  }
}

function literal(character: string): Test {
  const wanted = character.codePointAt(0)!
  return (codePoint) => codePoint === wanted
}

function run(states: readonly State[], name: string): boolean {
  let active = new Set<number>()
  enter(states, 0, active)
  for (const character of name) {
    const codePoint = character.codePointAt(0)!
    const next = new Set<number>()
    for (const index of active) if (states[index]!.test?.(codePoint)) enter(states, index + 1, next)
    if (next.size === 0) return false
    active = next
  }
  return active.has(states.length - 1)
}

/** Adds a state and all that are reached from it without a character. */
function enter(states: readonly State[], index: number, active: Set<number>): void {
  const pending = [index]
  for (let state = pending.pop(); state !== undefined; state = pending.pop()) {
    if (active.has(state)) continue
    active.add(state)
    pending.push(...states[state]!.free)
  }
}
