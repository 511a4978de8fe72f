/**
 * Numbers as people compare them: bytes as `ls` and disk makers count (SI), memory as `free -h` counts (IEC), values
 * as model cards count them (20.9 B).
 */

const SI_BYTES = ["B", "kB", "MB", "GB", "TB", "PB", "EB"] as const
const IEC_BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const
const SI_COUNT = ["", "k", "M", "B", "T"] as const

/** Three significant digits of a value below 1000: 1.06, 13.8, 999. */
function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0)
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let scale = 0
  let rest = value
  // 999.6 would print as 1000: it belongs to the next unit.
  while (scale + 1 < units.length && (rest >= base || (scale > 0 && rest >= 999.5))) {
    rest /= base
    scale += 1
  }
  const digits = scale === 0 ? rest.toFixed(0) : threeDigits(rest)
  const unit = units[scale] ?? ""
  return unit === "" ? digits : `${digits} ${unit}`
}

/** "13.8 GB". */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1000, SI_BYTES)
}

/** "13.8 GB (13,761,264,768 bytes)": the exact number is what `ls -l` prints. */
export function formatBytesExact(bytes: number): string {
  return bytes < 1000 ? `${bytes} bytes` : `${formatBytes(bytes)} (${formatInteger(bytes)} bytes)`
}

/** "96.5 MiB", as `free -h` counts; what was a whole number on the command line (1GiB) stays one. */
export function formatMemory(bytes: number): string {
  return scaled(bytes, 1024, IEC_BYTES).replace(/\.0+ /, " ")
}

/** "13,761,264,768". */
export function formatInteger(value: number): string {
  return value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",")
}

/** "20.9 B", "1.8 M", "640": parameters as a model card counts them. */
export function formatCount(value: number): string {
  return scaled(value, 1000, SI_COUNT)
}

/** "3.21 GB/s"; "–" where no time has passed. */
export function formatRate(bytes: number, seconds: number): string {
  return seconds > 0 ? `${formatBytes(bytes / seconds)}/s` : "–"
}

/** "4 ms", "1.24 s", "12.3 s", "3 min 05 s", "1 h 02 min". */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`
}

/** "0:07", "12:05", "1:02:03": a clock that keeps its width, for progress. */
export function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const minutes = Math.floor((whole % 3600) / 60)
  const tail = String(whole % 60).padStart(2, "0")
  return whole < 3600 ? `${minutes}:${tail}` : `${Math.floor(whole / 3600)}:${String(minutes).padStart(2, "0")}:${tail}`
}

/** "1 tensor", "459 tensors". */
export function formatPlural(count: number, singular: string, plural = `${singular}s`): string {
  return `${formatInteger(count)} ${count === 1 ? singular : plural}`
}

/** "[32, 5760, 2880]"; "[]" is a scalar. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`
}

/** Bits per value with the digits that differ: "4.25", "16", "4.5". */
export function formatBits(bits: number): string {
  return String(Number(bits.toFixed(2)))
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
}

/**
 * Bytes of a SIZE: a number with k, M, G, T (SI) or Ki, Mi, Gi, Ti (IEC), an optional B, any case: 5GB, 1GiB, 1.5G.
 * undefined where it is none, is zero, or does not come to whole bytes below 2^53.
 */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,16}(?:\.\d{1,9})?) ?([kmgt]i?)?b?$/i.exec(text)
  if (match === null) return undefined
  const unit = SIZE_UNITS[(match[2] ?? "").toLowerCase()] ?? 1
  const bytes = Math.round(Number(match[1]) * unit)
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined
}

const TIME_UNITS: Readonly<Record<string, number>> = { "": 1, s: 1, ms: 1e-3, m: 60, min: 60 }

/** A day: nobody waits longer for a result. */
const DURATION_MAX = 86_400

/** Seconds of a TIME: a number with s, ms or min, of seconds where there is no unit. undefined where it is none, or zero. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m|min)?$/i.exec(text)
  if (match === null) return undefined
  const seconds = Number(match[1]) * (TIME_UNITS[(match[2] ?? "").toLowerCase()] ?? 1)
  return seconds > 0 && seconds <= DURATION_MAX ? seconds : undefined
}
