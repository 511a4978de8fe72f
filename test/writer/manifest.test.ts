/** Manifests: what they say, and what a check against them finds. */
import { describe, expect, test } from "bun:test"
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { CancelledError, IoError, MalformedError, RefusedError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { EMPTY_HASH } from "../../src/writer/digest.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { RunOptions } from "../../src/writer/types.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { temporaryFolder, tensor, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors } from "../support/models.ts"
import { plannedFolder, tiny, tree } from "./fixture.ts"

interface Entry {
  readonly size: number
  readonly blake3: string
  readonly tensors?: Readonly<Record<string, { offset: number; size: number; blake3: string; shape: number[] }>>
}

function readManifest(path: string): Readonly<Record<string, Entry>> {
  return (JSON.parse(readFileSync(path, "utf8")) as { files: Record<string, Entry> }).files
}

async function withManifest(options: Partial<RunOptions> = {}) {
  const input = await plannedFolder({ shardSize: 20_000 })
  writeFileSync(input.folder.file("in", "abc.txt"), "abc")
  const plan = planConversion(await openCheckpoint(input.folder.file("in")), { shardSize: 20_000 })
  const output = input.folder.file("out")
  await runPlan(plan, { output, manifest: true, ...options })
  return { ...input, plan, output, [Symbol.dispose]: () => input[Symbol.dispose]() }
}

test("a manifest lists every file of the output but itself, and every tensor", async () => {
  using run = await withManifest()
  const files = readManifest(join(run.output, "manifest.json"))
  expect(Object.keys(files).toSorted()).toEqual(tree(run.output).filter((name) => name !== "manifest.json"))
  // The published vector of this text.
  expect(files["abc.txt"]).toEqual({
    size: 3,
    blake3: "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
  })
  const tensors = run.plan.shards.flatMap((shard) => shard.tensors)
  const listed = Object.values(files).flatMap((file) => Object.entries(file.tensors ?? {}))
  expect(listed.map(([name]) => name).toSorted()).toEqual(tensors.map(({ name }) => name).toSorted())
  for (const [name, { offset, size, shape }] of listed) {
    expect(tensors.find((planned) => planned.name === name)).toMatchObject({ offset, size, shape })
  }
  expect(await verifyOutput(run.output, { manifest: true })).toMatchObject({
    ok: true,
    manifest: { files: Object.keys(files).length },
  })
})

test("hashes do not depend on threads, memory, and the way of reading, nor on a resumption", async () => {
  using run = await withManifest()
  const expected = readFileSync(join(run.output, "manifest.json"))
  const others: Partial<RunOptions>[] = [
    { threads: 1, io: "mmap" },
    { threads: 5, io: "pread" },
    { threads: 2, maxMemory: 2 ** 18 },
  ]
  for (const [i, options] of others.entries()) {
    const output = run.folder.file(`out-${i}`)
    await runPlan(run.plan, { output, manifest: true, ...options })
    expect(readFileSync(join(output, "manifest.json"))).toEqual(expected)
  }
  const output = run.folder.file("resumed")
  const controller = new AbortController()
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === "verify") controller.abort(new CancelledError())
  }
  const options = { output, manifest: true, resume: true } as const
  const interrupted = runPlan(run.plan, { ...options, signal: controller.signal, onProgress })
  await expect(interrupted).rejects.toThrow(CancelledError)
  expect((await runPlan(run.plan, options)).resumed).toBe(run.plan.shards.length)
  expect(readFileSync(join(output, "manifest.json"))).toEqual(expected)
})

test("a file has its manifest beside it", async () => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file("in.safetensors"), [...gptOssTensors(tiny), tensor("empty", "F32", [0], 1)])
  const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
  const output = folder.file("out.safetensors")
  await runPlan(plan, { output, manifest: true })
  const files = readManifest(`${output}.manifest.json`)
  expect(files["out.safetensors"]?.tensors?.empty?.blake3).toBe(EMPTY_HASH)
  expect(await verifyOutput(output, { manifest: true })).toMatchObject({ ok: true })
  await expect(runPlan(plan, { output, manifest: true })).rejects.toThrow(RefusedError)
  await runPlan(plan, { output, force: true })
  expect(readdirSync(folder.path).toSorted()).toEqual(["in.safetensors", "out.safetensors"])
})

describe("what a check finds", () => {
  const cases: readonly [string, RegExp, (output: string) => void][] = [
    ["a file that is gone", /^file "abc\.txt" is missing$/, (output) => rmSync(join(output, "abc.txt"))],
    [
      "a file that grew",
      /^file "abc\.txt" has another size \(expected 3 bytes, found 4\)$/,
      (output) => appendFileSync(join(output, "abc.txt"), "d"),
    ],
    [
      "other text",
      /^file "abc\.txt" differs from the manifest \(BLAKE3 expected 6437b3ac38465133…, found [0-9a-f]{16}…\)$/,
      (output) => writeFileSync(join(output, "abc.txt"), "abd"),
    ],
    [
      "a shard that is cut off",
      /^file "model-00001-of-\d+\.safetensors" has another size/,
      (output) => truncateSync(shard(output), 100),
    ],
    [
      "a header",
      /^file "model-00001-of-\d+\.safetensors" differs from the manifest before its tensors/,
      (output) => flip(shard(output), 20),
    ],
    [
      "a shard that nobody listed",
      /^file "more\.safetensors" is not in the manifest$/,
      (output) => cpSync(shard(output), join(output, "more.safetensors")),
    ],
  ]
  test.each(cases)("%s", async (_, says, damage) => {
    using run = await withManifest()
    damage(run.output)
    const report = await verifyOutput(run.output, { manifest: true })
    expect(report.ok).toBe(false)
    expect(report.problems.length).toBe(1)
    expect(report.problems[0]).toMatch(says)
  })

  test("the tensor that a bit belongs to", async () => {
    using run = await withManifest()
    const [first] = run.plan.shards
    for (const { name, offset, size } of first!.tensors) {
      const path = join(run.output, first!.name)
      flip(path, offset + size - 1)
      const report = await verifyOutput(run.output, { manifest: true })
      expect(report.problems.length).toBe(1)
      expect(report.problems[0]).toStartWith(`file "${first!.name}": tensor "${name}" differs from the manifest`)
      flip(path, offset + size - 1)
    }
  })
})

describe("a manifest that is none", () => {
  const hash = "0".repeat(64)
  const withFiles = (files: unknown) => JSON.stringify({ dequantizer: "1", schema: 1, files })
  test.each([
    ["", /expected an object/],
    ["{}", /not a manifest\.json of this program/],
    [withFiles([]), /"files" is not an object/],
    [withFiles({ "../x": { size: 1, blake3: hash } }), /file "\.\.\/x" is not a name in the folder/],
    [withFiles({ "/etc/passwd": { size: 1, blake3: hash } }), /is not a name in the folder/],
    [withFiles({ a: { size: -1, blake3: hash } }), /file "a" is incomplete/],
    [withFiles({ a: { size: 1, blake3: "x" } }), /file "a" has no BLAKE3 hash/],
    [
      withFiles({ a: { size: 1, blake3: hash, tensors: { t: { size: 1, blake3: hash } } } }),
      /tensor "t" is incomplete/,
    ],
  ] as const)("%j", async (text, says) => {
    using run = await withManifest()
    writeFileSync(join(run.output, "manifest.json"), text)
    const check = verifyOutput(run.output, { manifest: true })
    await expect(check).rejects.toThrow(MalformedError)
    await expect(check).rejects.toThrow(says)
  })

  test("tensors that overlap, or lie beyond the file, are told by the file", async () => {
    using run = await withManifest()
    const tensors = {
      a: { dtype: "U8", shape: [3], offset: 0, size: 3, blake3: hash },
      b: { dtype: "U8", shape: [3], offset: 2, size: 1, blake3: hash },
    }
    writeFileSync(join(run.output, "manifest.json"), withFiles({ "abc.txt": { size: 3, blake3: hash, tensors } }))
    const report = await verifyOutput(run.output, { manifest: true })
    expect(report.problems[0]).toMatch(/^file "abc\.txt" differs from the manifest/)
  })

  test("absent", async () => {
    using input = await plannedFolder()
    await runPlan(input.plan, { output: input.folder.file("out") })
    const check = verifyOutput(input.folder.file("out"), { manifest: true })
    await expect(check).rejects.toThrow(IoError)
    await expect(check).rejects.toMatchObject({ hint: "convert --manifest writes one" })
  })
})

test("the manifest of an input, and of an older output, does not outlive what it speaks of", async () => {
  using run = await withManifest()
  const plan = planConversion(await openCheckpoint(run.output))
  await runPlan(plan, { output: run.folder.file("copy") })
  expect(readdirSync(run.folder.file("copy"))).not.toContain("manifest.json")
  await runPlan(run.plan, { output: run.output, force: true })
  expect(readdirSync(run.output)).not.toContain("manifest.json")
  // A file of another program that has this name travels along.
  writeFileSync(run.folder.file("in", "manifest.json"), '{"name": "a web page"}')
  const other = planConversion(await openCheckpoint(run.folder.file("in")))
  await runPlan(other, { output: run.folder.file("other") })
  expect(readFileSync(run.folder.file("other", "manifest.json"), "utf8")).toBe('{"name": "a web page"}')
})

function shard(output: string): string {
  return join(output, readdirSync(output).find((name) => name.startsWith("model-00001-of"))!)
}

function flip(path: string, position: number): void {
  const bytes = readFileSync(path)
  bytes[position]! ^= 1
  writeFileSync(path, bytes)
}
