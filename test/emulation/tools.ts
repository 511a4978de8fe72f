/**
 * Finds the emulators: the ones that install.ts unpacked into the checkout, else the machine's own packages.
 * Bochs before 3.0 will not do: its vcvtps2ph rounds a number half way between two f16 up instead of to even.
 */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../src/build/project.ts"

/** Where install.ts unpacks packages: a small root file system. */
export const unpacked = join(root, ".toolchain", "emulation")

export const INSTALL_HINT = "bun test/emulation/install.ts"

const BOCHS_VERSION_MIN = 3

export interface BochsTools {
  bochs: string[]
  xorriso: string[]
  environment: Record<string, string>
  kernel: string
  isolinux: string
  ldlinux: string
}

/** A command of the packages below `prefix`, run with their own libraries where they are not the machine's. */
function commandBelow(prefix: string, path: string): string[] {
  if (prefix === "/") return [`/${path}`]
  const libraries = [join(prefix, "usr/lib/x86_64-linux-gnu"), join(prefix, "usr/lib/x86_64-linux-gnu/pulseaudio")]
  const loader = join(prefix, "usr/lib64/ld-linux-x86-64.so.2")
  return [loader, "--inhibit-cache", "--library-path", libraries.join(":"), join(prefix, path)]
}

function environmentBelow(prefix: string): Record<string, string> {
  // Bochs opens a terminal of its own and asks curses about it.
  const terminal = { TERM: "vt100" }
  if (prefix === "/") return { ...terminal, BXSHARE: "/usr/share/bochs" }
  return {
    ...terminal,
    TERMINFO: join(prefix, "usr/share/terminfo"),
    BXSHARE: join(prefix, "usr/share/bochs"),
    LTDL_LIBRARY_PATH: join(prefix, "usr/lib/x86_64-linux-gnu/bochs/plugins"),
  }
}

/** "3.0" of "Bochs x86 Emulator 3.0"; undefined where it does not run. */
function bochsVersion(bochs: readonly string[], environment: Record<string, string>): string | undefined {
  const result = Bun.spawnSync([...bochs, "--help"], { env: { ...process.env, ...environment }, stderr: "pipe" })
  const text = `${result.stdout}${result.stderr}`
  return text.match(/Bochs x86 Emulator (\d+\.\d+)/)?.[1]
}

/** The newest kernel of Debian's cloud flavour: every driver that the emulated PC needs is built in. */
function findKernel(prefix: string): string | undefined {
  const folder = join(prefix, "boot")
  if (!existsSync(folder)) return undefined
  const names = readdirSync(folder).filter((name) => /^vmlinuz-.*-cloud-amd64$/.test(name))
  names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
  const newest = names.at(-1)
  return newest === undefined ? undefined : join(folder, newest)
}

function findBelow(prefix: string): BochsTools | string {
  const kernel = findKernel(prefix)
  const isolinux = join(prefix, "usr/lib/ISOLINUX/isolinux.bin")
  const ldlinux = join(prefix, "usr/lib/syslinux/modules/bios/ldlinux.c32")
  for (const path of [join(prefix, "usr/bin/bochs-bin"), join(prefix, "usr/bin/xorriso"), isolinux, ldlinux])
    if (!existsSync(path)) return `${path} is missing`
  if (kernel === undefined) return `${join(prefix, "boot")} has no vmlinuz-*-cloud-amd64`
  const bochs = commandBelow(prefix, "usr/bin/bochs-bin")
  const environment = environmentBelow(prefix)
  const version = bochsVersion(bochs, environment)
  if (version === undefined || Number.parseInt(version, 10) < BOCHS_VERSION_MIN)
    return `Bochs ${BOCHS_VERSION_MIN}.0 or newer is needed, found ${version ?? "one that does not start"}`
  return { bochs, xorriso: commandBelow(prefix, "usr/bin/xorriso"), environment, kernel, isolinux, ldlinux }
}

/** Bochs and all that it boots from, or one sentence on what is missing. */
export function findBochs(): BochsTools | string {
  if (process.arch !== "x64") return "the Bochs machine is set up from x86-64 packages"
  if (existsSync(unpacked)) return findBelow(unpacked)
  const found = findBelow("/")
  return typeof found === "string" ? `${found}; to set it up: ${INSTALL_HINT}` : found
}

/** qemu's user-mode emulator of aarch64; "" where there is none. */
export function findQemu(): string {
  return Bun.which("qemu-aarch64-static") ?? Bun.which("qemu-aarch64") ?? ""
}

/** What runs programs that are linked with glibc: the emulator, and the folder that stands for their "/". */
export interface ArmTools {
  qemu: string
  sysroot: string
}

/** Both, or one sentence on what is missing. */
export function findArm(): ArmTools | string {
  if (process.arch === "arm64") return "this machine is arm64 itself"
  const qemu = findQemu()
  if (qemu === "") return "qemu-aarch64-static is missing (Debian: qemu-user-static)"
  const sysroot = "/usr/aarch64-linux-gnu"
  const loader = join(sysroot, "lib", "ld-linux-aarch64.so.1")
  return existsSync(loader) ? { qemu, sysroot } : `${loader} is missing (Debian: libc6-arm64-cross)`
}
