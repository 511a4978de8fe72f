/**
 * `bun test/emulation/install.ts`: unpacks Bochs 3.0, its boot loader and a kernel from Debian 13 into
 * .toolchain/emulation, beside whatever the machine has installed. It takes apt, Debian's archive keys and about 95 MB
 * of downloads, and no rights beyond the checkout: apt works on lists of its own and sees no package as installed, so
 * that it brings every library along.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { BuildError, runMain } from "../../src/build/project.ts"
import { findBochs, unpacked } from "./tools.ts"

const SUITE = "trixie"
const KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
const PACKAGES = ["bochs", "bochs-term", "xorriso", "isolinux", "syslinux-common"]
/** Depends on the kernel of the day; that one is fetched alone, for its dependencies are for installing it. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64"

/** Runs a command and returns what it prints; its complaints are shown. */
function capture(command: readonly string[], cwd?: string): string {
  const options = { stdout: "pipe", stderr: "inherit", ...(cwd === undefined ? {} : { cwd }) } as const
  const result = Bun.spawnSync([...command], options)
  if (!result.success) throw new BuildError(`${command[0]} ${command.at(-1)} failed`)
  return result.stdout.toString()
}

/** The Debian mirror that this machine already uses. */
function findMirror(): string {
  const rows = capture(["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)"]).split("\n")
  const mirror = rows.map((row) => row.match(/^(\S+) Debian Debian$/)?.[1]).find((uri) => uri !== undefined)
  if (mirror === undefined)
    throw new BuildError("apt knows no Debian mirror here; is `apt-get update` still to be run?")
  return mirror
}

/** Options that give apt a world of its own in `folder`. */
function aptOptions(folder: string): string[] {
  for (const path of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, path), { recursive: true })
  const sources = join(folder, "sources.list")
  const status = join(folder, "status")
  writeFileSync(sources, `deb [arch=amd64 signed-by=${KEYS}] ${findMirror()} ${SUITE} main\n`)
  writeFileSync(status, "")
  const settings = {
    "Dir::Etc::SourceList": sources,
    "Dir::Etc::SourceParts": "-",
    "Dir::State": join(folder, "state"),
    "Dir::State::Status": status,
    "Dir::Cache": join(folder, "cache"),
    "Acquire::Languages": "none",
    "APT::Architecture": "amd64",
    "APT::Install-Recommends": "false",
    // The folder belongs to whoever runs this, not to apt's own user.
    "APT::Sandbox::User": "",
    "Debug::NoLocking": "true",
  }
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`])
}

await runMain(async () => {
  for (const tool of ["apt-get", "dpkg-deb"])
    if (Bun.which(tool) === null) throw new BuildError(`${tool} is missing: this takes a machine with Debian's tools`)
  const aside = `${unpacked}.partial`
  rmSync(aside, { recursive: true, force: true })
  const apt = join(aside, "apt")
  mkdirSync(apt, { recursive: true })
  const options = aptOptions(apt)
  const archives = join(apt, "cache", "archives")
  process.stderr.write(`emulation: fetching packages of Debian ${SUITE}\n`)
  capture(["apt-get", ...options, "-qq", "update"])
  capture(["apt-get", ...options, "-qq", "--yes", "--download-only", "install", ...PACKAGES])
  const kernel = capture(["apt-cache", ...options, "depends", KERNEL_PACKAGE]).match(/Depends: (\S+)/)?.[1]
  if (kernel === undefined) throw new BuildError(`${KERNEL_PACKAGE} names no kernel`)
  capture(["apt-get", ...options, "-qq", "download", kernel], archives)
  for (const name of readdirSync(archives).filter((file) => file.endsWith(".deb")))
    capture(["dpkg-deb", "--extract", join(archives, name), aside])
  rmSync(apt, { recursive: true })
  rmSync(unpacked, { recursive: true, force: true })
  renameSync(aside, unpacked)
  const tools = findBochs()
  if (typeof tools === "string") throw new BuildError(tools)
  process.stderr.write(`emulation: ready, with ${tools.kernel}\n`)
  return 0
})
