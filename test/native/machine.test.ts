/** The machine, the levels, single matrices, and how a library that cannot be opened is told. */
import { afterEach, expect, test } from "bun:test"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { IoError, UnsupportedError, UsageError } from "../../src/errors.ts"
import { decodeMatrix } from "../../src/native/decode.ts"
import { open } from "../../src/native/library.ts"
import { levelNames, machineInfo, selectLevel } from "../../src/native/machine.ts"
import { denseMxfp4 } from "./decoder.ts"
import { fillBytes } from "./plan.ts"

afterEach(() => selectLevel(undefined))

test("the machine is described", () => {
  const machine = machineInfo()
  expect(machine.cpusOnline).toBeGreaterThanOrEqual(machine.cpusAllowed)
  expect(machine.cpusAllowed).toBeGreaterThanOrEqual(machine.coresAllowed)
  expect(machine.coresAllowed).toBeGreaterThanOrEqual(machine.threads)
  expect(machine.threads).toBeGreaterThanOrEqual(1)
  expect(machine.cpu.length).toBeGreaterThan(0)
  expect(machine.cpusOnline).toBeGreaterThanOrEqual(cpus().length)
  expect(machine.memoryTotal).toBeGreaterThan(machine.memoryAvailable)
  expect(machine.levels.find((level) => level.name === machine.level)?.supported).toBe(true)
})

test("levels are selected by name, and told apart when they cannot be", () => {
  const { levels } = machineInfo()
  expect(levels.at(-1)).toEqual({ name: "scalar", supported: true })
  for (const { name, supported } of levels) {
    if (supported) {
      selectLevel(name)
      expect(machineInfo().level).toBe(name)
    } else {
      expect(() => selectLevel(name)).toThrow(UnsupportedError)
    }
  }
  expect(() => selectLevel("sse9")).toThrow(UsageError)
  expect(() => selectLevel("")).toThrow(UsageError)
})

test("a level that DQ_LEVEL names and the CPU lacks is no reason to take another one", () => {
  const program = `
    import { decodeMatrix } from ${JSON.stringify(join(import.meta.dir, "../../src/native/decode.ts"))}
    import { selectLevel } from ${JSON.stringify(join(import.meta.dir, "../../src/native/machine.ts"))}
    const source = { bytes: new Uint8Array(4), rowsPerLine: 1, lineBytes: 4, unitColumns: 1, unitBytes: 4 }
    const decode = () => decodeMatrix({ codec: "f32", dtype: "f32", rows: 1, columns: 1, sources: [source] })
    try { decode() } catch (error) { console.log(error.name) }
    selectLevel(undefined)
    console.log(decode().bytes.length)
  `
  const { stdout } = Bun.spawnSync([process.execPath, "-e", program], { env: { ...process.env, DQ_LEVEL: "avx9" } })
  expect(stdout.toString()).toBe("UnsupportedError\n4\n")
})

test("a matrix decodes alike at every level, in both orientations", () => {
  const extents = { batch: 1, rows: 37, columns: 160 }
  const file = fillBytes((37 * 160) / 2 + (37 * 160) / 32)
  for (let i = (37 * 160) / 2; i < file.length; i++) file[i] = 90 + ((i * 7) % 60)
  const codes = file.slice(0, (37 * 160) / 2)
  const scales = file.slice((37 * 160) / 2)
  for (const level of machineInfo().levels.filter(({ supported }) => supported)) {
    selectLevel(level.name)
    for (const dtype of ["bf16", "f16", "f32"] as const) {
      for (const transposed of [false, true]) {
        const { bytes, nonFiniteCount } = decodeMatrix({
          codec: "mxfp4",
          dtype,
          rows: 37,
          columns: 160,
          transposed,
          sources: [
            { bytes: codes, rowsPerLine: 1, lineBytes: 80, unitColumns: 32, unitBytes: 16 },
            { bytes: scales, rowsPerLine: 1, lineBytes: 5, unitColumns: 32, unitBytes: 1 },
          ],
        })
        Bun.gc(true)
        const expected = denseMxfp4(file, 0, extents, dtype, transposed)
        expect(Buffer.compare(bytes, expected)).toBe(0)
        const infinite = dtype === "f16" ? countInfinite(expected) : 0
        expect(nonFiniteCount).toBe(infinite)
      }
    }
  }
})

function countInfinite(f16: Uint8Array): number {
  const bits = new Uint16Array(f16.buffer)
  return bits.filter((value) => (value & 0x7c00) === 0x7c00).length
}

test("a source that is too short for its matrix is refused", () => {
  const matrix = {
    codec: "bf16",
    dtype: "f32",
    rows: 2,
    columns: 4,
    sources: [{ bytes: new Uint8Array(15), rowsPerLine: 1, lineBytes: 8, unitColumns: 1, unitBytes: 2 }],
  } as const
  expect(() => decodeMatrix(matrix)).toThrow("dq_decode returned bad_argument")
})

test("levels keep their names in order", () => {
  const names = levelNames()
  expect(new Set(names).size).toBe(names.length)
})

test("a library that is none, lacks the functions, or is not there gives one sentence", () => {
  const folder = mkdtempSync(join(tmpdir(), "dequantizer-library-"))
  try {
    const path = join(folder, "libdequantizer.so")
    expect(() => open(path)).toThrow(IoError)
    writeFileSync(path, "not a library")
    chmodSync(path, 0o755)
    expect(() => open(path)).toThrow(`${path}: the native library cannot be opened`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
