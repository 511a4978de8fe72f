/** Markup as text. Everything that is not markup itself passes through `escapeMarkup`: names come from files. */
import { escapeText } from "../../containers/quote.ts"

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
}

/** Text for content and for quoted attributes of HTML and of XML; control characters as escapes. */
export function escapeMarkup(text: string): string {
  return escapeText(text).replace(/[&<>"']/g, (character) => ENTITIES[character]!)
}

/** Markup that is finished: it is not escaped again. */
export interface Markup {
  readonly markup: string
}

export type Child = Markup | string | readonly Child[]

export type Attributes = Readonly<Record<string, string | number | undefined>>

/** An element; numbers of attributes are rounded to what a screen shows. */
export function element(name: string, attributes: Attributes, ...children: readonly Child[]): Markup {
  const words = Object.entries(attributes).map(([key, value]) =>
    value === undefined ? "" : ` ${key}="${escapeMarkup(typeof value === "number" ? numberText(value) : value)}"`,
  )
  const content = children.map(childText).join("")
  return { markup: `<${name}${words.join("")}>${content}</${name}>` }
}

function numberText(value: number): string {
  return String(Number(value.toFixed(1)))
}

function childText(child: Child): string {
  if (typeof child === "string") return escapeMarkup(child)
  if ("markup" in child) return child.markup
  return child.map(childText).join("")
}
