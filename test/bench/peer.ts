/** A peer library in a process of its own, which multiplies when it is asked to: see peers/serve.py. */
import { join } from "node:path"

export interface PeerSetup {
  readonly kinds: readonly string[]
  /** Bytes of its weights. */
  readonly bytes: number
  readonly relativeErrors: Readonly<Record<string, number>>
}

export class Peer implements Disposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">
  readonly #output: AsyncIterator<Uint8Array>
  #rest = ""

  constructor(python: string, script: string) {
    const path = join(import.meta.dir, "peers", script)
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" }
    this.#child = Bun.spawn([python, path], { stdin: "pipe", stdout: "pipe", stderr: "pipe", env })
    this.#output = this.#child.stdout[Symbol.asyncIterator]()
  }

  async setup(rows: number, columns: number, threads: number): Promise<PeerSetup> {
    return (await this.#ask(`setup ${rows} ${columns} ${threads}`)) as PeerSetup
  }

  /** Seconds of each of `count` products. */
  async run(kind: string, count: number): Promise<readonly number[]> {
    const { seconds } = (await this.#ask(`run ${kind} ${count}`)) as { seconds: readonly number[] }
    return seconds
  }

  async #ask(line: string): Promise<unknown> {
    this.#child.stdin.write(`${line}\n`)
    await this.#child.stdin.flush()
    for (;;) {
      const end = this.#rest.indexOf("\n")
      if (end >= 0) {
        const text = this.#rest.slice(0, end)
        this.#rest = this.#rest.slice(end + 1)
        // ggml says on stdout what it does; answers are objects.
        if (text.startsWith("{")) return JSON.parse(text)
        continue
      }
      const { value, done } = await this.#output.next()
      if (done === true) throw new Error(`the peer ended: ${await this.#child.stderr.text()}`)
      this.#rest += new TextDecoder().decode(value)
    }
  }

  [Symbol.dispose](): void {
    this.#child.kill()
  }
}
