/** The page of `bench --html`: its structure, hostile names, and, where there is a browser, what it looks like. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { benchPage, benchPicture } from "../../src/bench/page/page.ts"
import type { BenchRow } from "../../src/bench/row.ts"
import { spreadOf } from "../../src/bench/spread.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { type Pixels, readPng } from "../support/png.ts"

// A browser takes its time to start on a busy machine.
setDefaultTimeout(60_000)

const HOSTILE = `</title><script>alert(1)</script>" onload='x' \u202e&amp;`

const measured = (
  bytesRead: number,
  bytesWritten: number,
  limit: "copy" | "write" | "read" | "cp",
  seconds = 0.01,
) => ({
  seconds: spreadOf([seconds, seconds * 1.1, seconds * 0.9]),
  bytesRead,
  bytesWritten,
  bytesPerSecond: (bytesRead + bytesWritten) / seconds,
  limits: [{ name: limit, bytesPerSecond: 2e10, share: 0.8 }],
})

const rows: BenchRow[] = [
  ...[1, 2, 4].map(
    (threads): BenchRow => ({
      kind: "stream",
      access: "copy_streaming",
      threads,
      ...measured(1e8 * threads, 1e8 * threads, "copy"),
    }),
  ),
  ...["avx2", "x86-64-v2"].flatMap((level) =>
    (["mxfp4", "q4_k"] as const).map(
      (codec): BenchRow => ({
        kind: "decode",
        codec,
        dtype: "bf16",
        transposed: false,
        level,
        threads: 4,
        valuesPerSecond: level === "avx2" ? 9e9 : 5e9,
        ...measured(3e7, 1e8, "write"),
      }),
    ),
  ),
  {
    kind: "matvec",
    codec: "mxfp4",
    rows: 65536,
    columns: 2880,
    arithmetic: "int8",
    level: "avx2",
    threads: 4,
    workers: 4,
    operationsPerSecond: 1.1e11,
    ...measured(1e8, 0, "read"),
  },
  { kind: "convert", source: HOSTILE, place: "memory", io: "pread", threads: 4, ...measured(1e8, 4e8, "cp", 0.2) },
]

const setting = {
  version: "1.2.3",
  seconds: 3,
  date: new Date("2026-01-02T03:04:05Z"),
  machine: {
    cpu: "CPU <of> & \"a\" 'maker'",
    level: "avx2",
    levels: [{ name: "avx2", supported: true }],
    cpusOnline: 4,
    cpusAllowed: 4,
    coresAllowed: 4,
    nodes: 1,
    cpuLimit: undefined,
    threads: 4,
    memoryTotal: 2 ** 35,
    memoryAvailable: 2 ** 34,
    memoryLimit: undefined,
    hugePages: "always",
    hugePageBytes: 2 ** 21,
  },
} as const

/** Elements are opened and closed in turn; returns how often each occurs. */
function countElements(markup: string): Map<string, number> {
  const open: string[] = []
  const counts = new Map<string, number>()
  for (const [, close, name] of markup.matchAll(/<(\/?)([a-zA-Z][a-zA-Z0-9]*)(?:\s[^<>]*)?>/g)) {
    if (name === "meta") continue
    if (close === "/") expect(open.pop()).toBe(name)
    else {
      open.push(name!)
      counts.set(name!, (counts.get(name!) ?? 0) + 1)
    }
  }
  expect(open).toEqual([])
  return counts
}

describe("page", () => {
  const page = benchPage(rows, setting)

  test("charts with a title and a description each, and a table for each kind", () => {
    const counts = countElements(page)
    expect(counts.get("svg")).toBe(4)
    expect(counts.get("desc")).toBe(4)
    expect(counts.get("table")).toBe(4)
    expect(counts.get("tbody")).toBe(4)
    expect(counts.get("tr")).toBe(4 + rows.length)
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [, label] of page.matchAll(/aria-labelledby="([^"]+)"/g)) {
      for (const id of label!.split(" ")) expect(ids).toContain(id)
    }
    expect(page).not.toMatch(/NaN|Infinity|undefined/)
  })

  test("asks no network, and runs no script", () => {
    const addresses = [...page.matchAll(/(?:src|href|url|action|data)\s*[=(]\s*["']?([^"'\s>)]*)/gi)]
    expect(addresses).toEqual([])
    expect(page).not.toContain("<script")
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`)
  })

  test("names are text, whatever is in them", () => {
    expect(page).not.toContain("<script>")
    expect(page).toContain(
      "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; \\u202e&amp;amp;",
    )
    expect(page).toContain("CPU &lt;of&gt; &amp; &quot;a&quot; &#39;maker&#39;")
  })

  test("light and dark", () => {
    expect(page.match(/@media \(prefers-color-scheme:dark\)/g)).toHaveLength(2)
  })

  test("rows of one kind alone, and none at all", () => {
    for (const row of rows) {
      const counts = countElements(benchPage([row], setting))
      expect(counts.get("table")).toBe(1)
      expect(counts.get("svg")).toBe(1)
    }
    expect(countElements(benchPage([], setting)).get("svg")).toBeUndefined()
  })
})

test("the picture is one SVG of all charts", () => {
  const picture = benchPicture(rows, setting)
  expect(picture).toStartWith('<?xml version="1.0" encoding="UTF-8"?>\n<svg ')
  const counts = countElements(picture.slice(picture.indexOf("<svg")))
  expect(counts.get("svg")).toBe(1)
  expect(counts.get("desc")).toBe(4)
})

const browser = ["chromium", "chromium-browser", "google-chrome", "chrome"].map((name) => Bun.which(name)).find(Boolean)
const why = browser ? "" : " (no Chromium or Chrome on PATH)"

/** A picture of a file in a browser that prefers one colour scheme. */
async function screenshot(path: string, scheme: "light" | "dark", folder: string): Promise<Pixels> {
  const output = `${folder}/${scheme}.png`
  const scheme_number = scheme === "dark" ? 0 : 1
  const options = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    `--user-data-dir=${folder}/profile`,
    `--blink-settings=preferredColorScheme=${scheme_number}`,
    "--window-size=1000,1600",
    `--screenshot=${output}`,
  ]
  const child = Bun.spawn([browser!, ...options, `file://${path}`], { stdio: ["ignore", "ignore", "pipe"] })
  const [message, code] = await Promise.all([child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`the browser ended with ${code}: ${message}`)
  return readPng(Buffer.from(await Bun.file(output).arrayBuffer()))
}

test.skipIf(why !== "")(`a browser shows it in both colour schemes${why}`, async () => {
  using folder = temporaryFolder()
  const path = folder.file("bench.html")
  writeFileSync(path, benchPage(rows, setting))
  for (const [scheme, ground, colors] of [
    ["light", 0xffffff, [0x0b5cad, 0xb8500a]],
    ["dark", 0x0d1117, [0x6cb2ff, 0xff9d5c]],
  ] as const) {
    const pixels = await screenshot(path, scheme, folder.path)
    expect([pixels.width, pixels.height]).toEqual([1000, 1600])
    expect(pixels.at(2, 2)).toBe(ground)
    const counts = new Map<number, number>()
    for (let y = 0; y < pixels.height; y++) {
      for (let x = 0; x < pixels.width; x++) {
        const color = pixels.at(x, y)
        counts.set(color, (counts.get(color) ?? 0) + 1)
      }
    }
    // Bars of hundreds by a dozen pixels of each series, on a ground that is mostly free.
    for (const color of colors) expect(counts.get(color) ?? 0).toBeGreaterThan(3000)
    expect(counts.get(ground) ?? 0).toBeGreaterThan(0.7 * pixels.width * pixels.height)
  }
})
