/**
 * A PC in Bochs that boots a Linux kernel whose first process is init.zig, runs the programs given to it and switches
 * itself off. Headless: the guest's console is the serial port, which Bochs writes to a file.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { BuildError } from "../../src/build/project.ts"
import { cpioArchive, type Entry, MODE_CONSOLE, MODE_FOLDER, MODE_PROGRAM } from "./cpio.ts"
import type { BochsTools } from "./tools.ts"

export interface Machine {
  /** As Bochs names it: `bochs --help cpu`. */
  cpu: string
  init: string
  programs: readonly string[]
  /** A machine that is not off by then is stopped. */
  secondsMax: number
}

/**
 * quiet: each character takes the serial port thousands of instructions. clearcpuid: Bochs reports "fast short rep
 * mov" with fast strings switched off, and the kernel's memmove is wrong in that combination; its sizes of the compact
 * XSAVE area leave out protection keys. acpi=off and mitigations=off only shorten the boot.
 */
const KERNEL_OPTIONS = [
  "console=ttyS0",
  "quiet",
  "panic=-1",
  "nokaslr",
  "acpi=off",
  "mitigations=off",
  "tsc=unstable",
  "lsm=",
  "cryptomgr.notests",
  "clearcpuid=fsrm,pku,ospke,xsaves,xsavec",
]

const ISOLINUX_CONFIG = `default guest
prompt 0
timeout 1
label guest
  kernel linux
  append initrd=initrd ${KERNEL_OPTIONS.join(" ")}
`

function initramfs(machine: Machine): Uint8Array {
  const program = (name: string, path: string): Entry => ({ name, mode: MODE_PROGRAM, data: readFileSync(path) })
  return cpioArchive([
    { name: "dev", mode: MODE_FOLDER },
    { name: "dev/console", mode: MODE_CONSOLE, device: [5, 1] },
    { name: "proc", mode: MODE_FOLDER },
    { name: "tests", mode: MODE_FOLDER },
    program("init", machine.init),
    ...machine.programs.map((path) => program(`tests/${basename(path)}`, path)),
  ])
}

/** The bootable CD: boot loader, kernel and initramfs. */
function writeImage(tools: BochsTools, machine: Machine, folder: string): string {
  const content = join(folder, "cd")
  mkdirSync(content)
  copyFileSync(tools.isolinux, join(content, "isolinux.bin"))
  copyFileSync(tools.ldlinux, join(content, "ldlinux.c32"))
  copyFileSync(tools.kernel, join(content, "linux"))
  writeFileSync(join(content, "isolinux.cfg"), ISOLINUX_CONFIG)
  writeFileSync(join(content, "initrd"), initramfs(machine))
  const image = join(folder, "cd.iso")
  const boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
  const command = [...tools.xorriso, "-as", "mkisofs", "-quiet", "-o", image, ...boot, content]
  const result = Bun.spawnSync(command, { env: { ...process.env, ...tools.environment }, stderr: "pipe" })
  if (!result.success) throw new BuildError(`xorriso made no image: ${result.stderr.toString().trim()}`)
  return image
}

function bochsConfig(machine: Machine, image: string, folder: string): string {
  // Instructions per emulated second: few of them, and a millisecond that the kernel waits is over sooner.
  const ips = 20_000_000
  return `config_interface: textconfig
display_library: term
cpu: model=${machine.cpu}, count=1, ips=${ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=256, host=256
romimage: file=$BXSHARE/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest
boot: cdrom
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=${image}, status=inserted
com1: enabled=1, mode=file, dev=${join(folder, "serial.log")}
clock: sync=none
log: ${join(folder, "bochs.log")}
panic: action=fatal
error: action=ignore
info: action=ignore
`
}

/**
 * Runs the machine until it is off and returns its serial log; `readLog` reads it.
 * `folder` is empty and takes 70 MB.
 */
export async function runMachine(tools: BochsTools, machine: Machine, folder: string): Promise<string> {
  const image = writeImage(tools, machine, folder)
  const config = join(folder, "bochsrc")
  writeFileSync(config, bochsConfig(machine, image, folder))
  // Debian's Bochs has a debugger, which waits for a command: continue.
  const commands = join(folder, "commands")
  writeFileSync(commands, "c\nq\n")
  const child = Bun.spawn([...tools.bochs, "-q", "-f", config, "-rc", commands], {
    cwd: folder,
    env: { ...process.env, ...tools.environment },
    stdio: ["ignore", Bun.file(join(folder, "screen")), Bun.file(join(folder, "messages"))],
    timeout: machine.secondsMax * 1000,
    killSignal: "SIGKILL",
  })
  // Bochs takes no notice of SIGTERM, and would outlive an interrupted run.
  const stop = () => child.kill("SIGKILL")
  process.once("exit", stop)
  await child.exited
  process.off("exit", stop)
  const log = join(folder, "serial.log")
  if (existsSync(log)) return readFileSync(log, "utf8")
  const said = readFileSync(join(folder, "messages"), "utf8").trim().split("\n").slice(-5).join("\n")
  throw new BuildError(`Bochs wrote no serial log: ${said}`)
}
