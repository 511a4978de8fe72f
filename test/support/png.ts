/** Reads the PNG files of browsers: eight bits a channel, RGB or RGBA, not interlaced (W3C PNG 3, sections 5 and 9). */
import { inflateSync } from "node:zlib"

export interface Pixels {
  readonly width: number
  readonly height: number
  /** 0xrrggbb. */
  at(x: number, y: number): number
}

export function readPng(file: Buffer): Pixels {
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)]
  const [depth, color, interlace] = [file[24], file[25], file[28]]
  if (depth !== 8 || (color !== 2 && color !== 6) || interlace !== 0) throw new Error("another kind of PNG")
  const channels = color === 6 ? 4 : 3
  const parts: Buffer[] = []
  for (let at = 8; at < file.length; at += 12 + file.readUInt32BE(at)) {
    const size = file.readUInt32BE(at)
    if (file.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(file.subarray(at + 8, at + 8 + size))
  }
  const data = inflateSync(Buffer.concat(parts))
  const stride = width * channels
  const bytes = new Uint8Array(height * stride)
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)]!
    for (let x = 0; x < stride; x++) {
      const left = x < channels ? 0 : bytes[y * stride + x - channels]!
      const up = y === 0 ? 0 : bytes[(y - 1) * stride + x]!
      const corner = x < channels || y === 0 ? 0 : bytes[(y - 1) * stride + x - channels]!
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!
      bytes[y * stride + x] = data[y * (stride + 1) + 1 + x]! + predicted
    }
  }
  const at = (x: number, y: number) => {
    const begin = y * stride + x * channels
    return (bytes[begin]! << 16) | (bytes[begin + 1]! << 8) | bytes[begin + 2]!
  }
  return { width, height, at }
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)]
  return a <= b && a <= c ? left : b <= c ? up : corner
}
