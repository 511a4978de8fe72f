/** The parts that all charts are made of: panels, axes, legends. Coordinates are those of a panel 860 wide. */
import { element, type Markup } from "./markup.ts"

export const PANEL_WIDTH = 860

/** A chart with what stands around it. */
export interface Panel {
  readonly title: string
  /** What a reader who does not see it is told. */
  readonly description: string
  readonly height: number
  readonly content: readonly Markup[]
}

/** Colours by number, of which each has a light and a dark form. */
export const COLOR_COUNT = 5

/** For panels alone as for a page with many. */
export const PANEL_STYLE = `
.chart{--ink:#1b1f24;--faint:#57606a;--line:#d0d7de;--ground:#fff;--c0:#0b5cad;--c1:#b8500a;--c2:#15743a;--c3:#7540c4;--c4:#5b6673}
@media (prefers-color-scheme:dark){.chart{--ink:#e6edf3;--faint:#9da7b1;--line:#3a424b;--ground:#0d1117;--c0:#6cb2ff;--c1:#ff9d5c;--c2:#5fd38d;--c3:#c4a1ff;--c4:#a3b1c2}}
.chart text{font:13px system-ui,sans-serif;fill:var(--ink)}.chart .h{font-size:16px;font-weight:600}.chart .f{fill:var(--faint)}
.chart .g{stroke:var(--line);stroke-width:1}.chart .ground{fill:var(--ground)}.chart .roof{stroke:var(--faint);stroke-dasharray:5 4;fill:none}
${Array.from({ length: COLOR_COUNT }, (_, i) => `.chart .b${i}{fill:var(--c${i})}.chart .l${i}{stroke:var(--c${i});fill:none;stroke-width:2}`).join("")}
`

type Anchor = "start" | "middle" | "end"

export function text(x: number, y: number, words: string, anchor: Anchor = "start", kind?: string): Markup {
  return element("text", { x, y, "text-anchor": anchor === "start" ? undefined : anchor, class: kind }, words)
}

export function line(x1: number, y1: number, x2: number, y2: number, kind = "g"): Markup {
  return element("line", { x1, y1, x2, y2, class: kind })
}

/** A square of each colour with its name, one behind the other. */
export function legend(x: number, y: number, names: readonly string[]): Markup[] {
  let at = x
  return names.flatMap((name, i) => {
    const begin = at
    at += 30 + 7.2 * name.length
    return [
      element("rect", { x: begin, y: y - 10, width: 11, height: 11, class: `b${i % COLOR_COUNT}` }),
      text(begin + 16, y, name),
    ]
  })
}

/** Round numbers from 0 to beyond `largest`, about `count` of them. */
export function ticks(largest: number, count = 5): number[] {
  const raw = Math.max(largest, 1e-12) / count
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= raw * 0.999)!
  return Array.from({ length: Math.ceil(largest / step - 1e-9) + 1 }, (_, i) => i * step)
}

/** Without the digits that say nothing. */
export function tickText(value: number): string {
  return String(Number(value.toPrecision(3)))
}

/** A panel as an image of its own. */
export function panelSvg({ title, description, height, content }: Panel, id: string): Markup {
  return element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${PANEL_WIDTH} ${height}`,
      class: "chart",
      role: "img",
      "aria-labelledby": `${id}-title ${id}-desc`,
    },
    element("title", { id: `${id}-title` }, title),
    element("desc", { id: `${id}-desc` }, description),
    content,
  )
}

/** All panels below each other in one picture. */
export function pictureSvg(panels: readonly Panel[], title: string): Markup {
  const gap = 28
  let at = 44
  const groups = panels.map(({ title: name, description, height, content }) => {
    const begin = at
    at += height + 24 + gap
    return element(
      "g",
      { transform: `translate(0 ${begin + 24})` },
      element("title", {}, name),
      element("desc", {}, description),
      text(20, -6, name, "start", "h"),
      content,
    )
  })
  return element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${PANEL_WIDTH} ${at}`,
      width: PANEL_WIDTH,
      height: at,
      class: "chart",
      role: "img",
    },
    element("title", {}, title),
    { markup: `<style>${PANEL_STYLE}</style>` },
    element("rect", { class: "ground", width: PANEL_WIDTH, height: at }),
    text(20, 28, title, "start", "f"),
    groups,
  )
}
