/**
 * Progress on stderr: a bar that redraws itself on a terminal, a plain line every ten seconds elsewhere, or one JSON
 * object a line. Time comes from the sink, so that every form can be tested without waiting.
 */
import { escapeText } from "../containers/quote.ts"
import { formatBytes, formatClock, formatPlural, formatRate } from "../format.ts"
import {
  type ColorChoice,
  type Palette,
  palette,
  printError,
  stderrIsTerminal,
  terminalWidth,
  wantsColor,
} from "./terminal.ts"
import { cutMiddle, cutStart, padEnd, padStart, textWidth } from "./text.ts"

/** A moment of any work that is counted in bytes, or in rows of a table. */
export interface WorkProgress {
  readonly phase: "convert" | "verify" | "finish" | "load" | "check" | "measure"
  /** Default "bytes". */
  readonly unit?: "bytes" | "rows"
  readonly bytesDone: number
  readonly bytesTotal: number
  /** What is being worked on. */
  readonly tensor: string | undefined
}

export interface ProgressSink {
  write(text: string): void
  /** Seconds from any start. */
  now(): number
  /** Columns of the terminal, asked at each redraw: it may be resized. */
  width(): number
  /** The terminal shows UTF-8. */
  readonly unicode: boolean
  readonly paint: Palette
}

export interface ProgressReporter {
  update(progress: WorkProgress): void
  /** Takes the bar away; call it before anything else is printed. */
  close(): void
}

export type ProgressMode = "auto" | "plain" | "json" | "none"

const REDRAW_SECONDS = 0.1
const PLAIN_SECONDS = 10
/** The rate is that of the last seconds: long enough to be steady, short enough to follow a slower disk. */
const WINDOW_SECONDS = 5

const PHASE_WORDS: Readonly<Record<WorkProgress["phase"], string>> = {
  convert: "converting",
  verify: "verifying",
  finish: "finishing",
  load: "loading",
  check: "checking",
  measure: "measuring",
}

/** Bytes per second over the last seconds of one phase. */
class RateMeter {
  #samples: { readonly time: number; readonly bytes: number }[] = []

  restart(): void {
    this.#samples = []
  }

  add(time: number, bytes: number): void {
    this.#samples.push({ time, bytes })
    while (this.#samples.length > 2 && time - (this.#samples[1]?.time ?? time) >= WINDOW_SECONDS) this.#samples.shift()
  }

  /** undefined until two moments are known. */
  rate(): number | undefined {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || last.time <= first.time) return undefined
    return (last.bytes - first.bytes) / (last.time - first.time)
  }
}

interface Moment {
  readonly progress: WorkProgress
  /** Bytes per second. */
  readonly rate: number | undefined
  /** Seconds until the phase ends, at this rate. */
  readonly eta: number | undefined
}

function etaSeconds(progress: WorkProgress, rate: number | undefined): number | undefined {
  if (rate === undefined || rate <= 0) return undefined
  return (progress.bytesTotal - progress.bytesDone) / rate
}

function fraction(progress: WorkProgress): number {
  return progress.bytesTotal > 0 ? Math.min(1, progress.bytesDone / progress.bytesTotal) : 1
}

/** Rounded down, so that 100 % means all of it. */
function percent(progress: WorkProgress): string {
  return `${Math.floor(fraction(progress) * 100)}%`
}

function amountText({ unit, bytesDone, bytesTotal }: WorkProgress): string {
  if (unit === "rows") return `${bytesDone} of ${formatPlural(bytesTotal, "row")}`
  return `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`
}

/** Rows are of many kinds: how many there are in a second says nothing. */
function rateText({ progress, rate }: Moment): string | undefined {
  return rate === undefined || progress.unit === "rows" ? undefined : formatRate(rate, 1)
}

function drawBar(share: number, width: number, sink: ProgressSink): string {
  const full = Math.round(share * width)
  const [done, rest] = sink.unicode ? ["━", "─"] : ["#", "-"]
  return sink.paint.good(done.repeat(full)) + sink.paint.faint(rest.repeat(width - full))
}

/** Narrower than this a bar says less than the percentage beside it. */
const BAR_WIDTH_MIN = 8
const BAR_WIDTH_MAX = 24
const NAME_WIDTH_MIN = 12

/** One line of at most `width` columns; what does not fit is left out: first the name, then the bar, then the rate. */
export function progressLine(moment: Moment, width: number, sink: ProgressSink): string {
  const { progress, rate, eta } = moment
  const share = fraction(progress)
  const head = `${PHASE_WORDS[progress.phase]} ${padStart(percent(progress), 4)}`
  const amount = padStart(amountText(progress), 2 * textWidth("999 MB") + 4)
  const speed = padStart(rate === 0 ? "" : (rateText(moment) ?? ""), textWidth("999 MB/s"))
  const left = padEnd(eta === undefined ? "" : `${formatClock(eta)} left`, textWidth("0:00 left"))
  const facts = [head, amount, speed, left].join("  ").trimEnd()
  if (textWidth(facts) > width) return cutMiddle(`${head}  ${amount.trim()}`, width)
  const room = width - textWidth(facts) - 2
  if (room < BAR_WIDTH_MIN) return facts
  const barWidth = Math.min(BAR_WIDTH_MAX, room < BAR_WIDTH_MIN + 2 + NAME_WIDTH_MIN ? room : Math.floor(room / 2))
  const line = [head, drawBar(share, barWidth, sink), amount, speed, left].join("  ").trimEnd()
  const nameRoom = room - barWidth - 2
  if (progress.tensor === undefined || nameRoom < NAME_WIDTH_MIN) return line
  return `${line}  ${sink.paint.faint(cutStart(escapeText(progress.tensor), nameRoom))}`
}

function plainLine(moment: Moment): string {
  const { progress, eta } = moment
  const speed = rateText(moment)
  const parts = [
    `${PHASE_WORDS[progress.phase]}: ${percent(progress)}`,
    amountText(progress),
    ...(speed === undefined ? [] : [speed]),
    ...(eta === undefined ? [] : [`${formatClock(eta)} left`]),
    ...(progress.tensor === undefined ? [] : [escapeText(progress.tensor)]),
  ]
  return `${parts.join(", ")}\n`
}

function jsonLine({ progress, rate, eta }: Moment): string {
  const event = {
    schema: 1,
    event: "progress",
    phase: progress.phase,
    bytes_done: progress.bytesDone,
    bytes_total: progress.bytesTotal,
    bytes_per_second: rate === undefined ? null : Math.round(rate),
    eta_seconds: eta === undefined ? null : Number(eta.toFixed(1)),
    tensor: progress.tensor ?? null,
  }
  return `${JSON.stringify(event)}\n`
}

type Form = "bar" | "plain" | "json"

/** The seconds that pass between two outputs of a form. */
const INTERVALS: Readonly<Record<Form, number>> = { bar: REDRAW_SECONDS, plain: PLAIN_SECONDS, json: REDRAW_SECONDS }

/** A reporter of one form on any sink. The title is a line above the first bar or plain line. */
export function progressReporter(form: Form, sink: ProgressSink, title?: string): ProgressReporter {
  const meter = new RateMeter()
  const start = sink.now()
  // A run of less than ten seconds has no plain line; bar and JSON show the first moment too.
  let last = form === "plain" ? start : Number.NEGATIVE_INFINITY
  let phase: WorkProgress["phase"] | undefined
  let drawn = false
  let ended = false
  let untitled = title !== undefined && form !== "json"
  const show = (moment: Moment): void => {
    if (untitled) sink.write(`${title}\n`)
    untitled = false
    if (form === "json") sink.write(jsonLine(moment))
    else if (form === "plain") sink.write(plainLine(moment))
    else {
      // One column stays free: a character in the last one makes some terminals wrap.
      sink.write(`\r${progressLine(moment, sink.width() - 1, sink)}\u001b[K`)
      drawn = true
    }
  }
  return {
    update(progress) {
      const now = sink.now()
      const turned = progress.phase !== phase
      if (turned) meter.restart()
      phase = progress.phase
      meter.add(now, progress.bytesDone)
      // A reader of the events is owed the last one of each phase, once.
      const ends = form === "json" && progress.bytesDone >= progress.bytesTotal && (turned || !ended)
      ended = progress.bytesDone >= progress.bytesTotal
      const due = now - last >= INTERVALS[form] || ends || (turned && form !== "plain")
      if (!due) return
      last = now
      const rate = meter.rate()
      show({ progress, rate, eta: etaSeconds(progress, rate) })
    },
    close() {
      if (drawn) sink.write("\r\u001b[K")
      drawn = false
    },
  }
}

const silent: ProgressReporter = { update: () => {}, close: () => {} }

function showsUnicode(env: NodeJS.ProcessEnv): boolean {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || ""
  return /utf-?8/i.test(locale)
}

/** The reporter that the options and stderr ask for. */
export function createProgress(mode: ProgressMode, color: ColorChoice, title?: string): ProgressReporter {
  if (mode === "none") return silent
  const terminal = stderrIsTerminal() && process.env.TERM !== "dumb"
  const form = mode === "auto" ? (terminal ? "bar" : "plain") : mode
  const sink: ProgressSink = {
    write: printError,
    now: () => performance.now() / 1000,
    width: () => terminalWidth("stderr"),
    unicode: showsUnicode(process.env),
    paint: palette(wantsColor(color, terminal)),
  }
  return progressReporter(form, sink, title)
}
