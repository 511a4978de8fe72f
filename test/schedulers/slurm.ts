/**
 * A Slurm cluster of this one machine: munged, slurmctld and slurmd of their own, with all files in one folder, ended with
 * the scope. It needs the Debian package slurm-wlm, and root, as slurmd does.
 */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { hostname } from "node:os"
import { type Ended, plainEnvironment, runCommand } from "../cli/program.ts"
import { randomBytes, temporaryFolder } from "../support/checkpoints.ts"

const DAEMONS = ["munged", "slurmctld", "slurmd"] as const
const CLIENTS = ["sbatch", "squeue", "sacct", "scontrol"] as const
/** How long daemons and jobs may take on a busy machine. */
const PATIENCE_MS = 90_000

/** Why there can be no cluster here; undefined where there can. */
export function whyNoSlurm(): string | undefined {
  const absent = [...DAEMONS, ...CLIENTS].filter((name) => Bun.which(name, { PATH: path() }) === null)
  if (absent.length > 0) return `${absent.join(", ")} not installed (Debian: slurm-wlm)`
  return process.getuid?.() === 0 ? undefined : "slurmd needs root"
}

function path(): string {
  return `${process.env.PATH}:/usr/sbin:/sbin`
}

export interface Slurm extends AsyncDisposable {
  /** Runs a shell script with the cluster's clients. */
  shell(script: string, environment: Readonly<Record<string, string>>): Promise<Ended>
  /** Waits until no job is in the queue. */
  settle(): Promise<void>
}

/** Starts the daemons and waits until the node takes jobs. Throws with their words where it does not. */
export async function startSlurm(): Promise<Slurm> {
  const folder = temporaryFolder("dequantizer-slurm-")
  const socket = folder.file("munge.socket")
  for (const name of ["state", "spool"]) mkdirSync(folder.file(name))
  writeFileSync(folder.file("munge.key"), randomBytes(1024, Date.now()))
  chmodSync(folder.file("munge.key"), 0o400)
  const ports = [await freePort(), await freePort()]
  writeFileSync(folder.file("slurm.conf"), config(folder.path, socket, ports))
  const environment = { ...plainEnvironment(), PATH: path(), SLURM_CONF: folder.file("slurm.conf") }
  const children = [
    [
      "munged",
      "--foreground",
      "--force",
      `--key-file=${folder.file("munge.key")}`,
      `--socket=${socket}`,
      `--pid-file=${folder.file("munged.pid")}`,
      `--log-file=${folder.file("munged.log")}`,
      `--seed-file=${folder.file("munged.seed")}`,
    ],
    ["slurmctld", "-D", "-f", folder.file("slurm.conf")],
    ["slurmd", "-D", "-N", hostname(), "-f", folder.file("slurm.conf")],
  ].map((command) => Bun.spawn(command, { env: environment, stdio: ["ignore", "ignore", "ignore"] }))
  const shell: Slurm["shell"] = (script, more) =>
    runCommand(["sh", "-ec", script], { cwd: folder.path, env: { ...environment, ...more } })
  const stop = async () => {
    for (const child of children.toReversed()) child.kill("SIGTERM")
    await Promise.all(children.map((child) => child.exited))
    folder[Symbol.dispose]()
  }
  try {
    await until("the node is idle", async () => (await shell("sinfo -h -o %T", {})).stdout.trim() === "idle")
  } catch (error) {
    const logs = await shell("tail -n 5 *.log", {})
    await stop()
    throw new Error(`${String(error)}\n${logs.stdout}`)
  }
  return {
    shell,
    settle: () => until("the queue is empty", async () => (await shell("squeue -h", {})).stdout.trim() === ""),
    [Symbol.asyncDispose]: stop,
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await Bun.sleep(200)
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === "string") throw new Error("no port")
  return address.port
}

function config(folder: string, socket: string, [controller, node]: readonly number[]): string {
  const lines = {
    ClusterName: "test",
    SlurmctldHost: `${hostname()}(127.0.0.1)`,
    SlurmctldPort: controller,
    SlurmdPort: node,
    AuthType: "auth/munge",
    AuthInfo: `socket=${socket}`,
    SlurmUser: "root",
    StateSaveLocation: `${folder}/state`,
    SlurmdSpoolDir: `${folder}/spool`,
    SlurmctldPidFile: `${folder}/slurmctld.pid`,
    SlurmdPidFile: `${folder}/slurmd.pid`,
    SlurmctldLogFile: `${folder}/slurmctld.log`,
    SlurmdLogFile: `${folder}/slurmd.log`,
    ProctrackType: "proctrack/linuxproc",
    TaskPlugin: "task/none",
    SelectType: "select/cons_tres",
    SelectTypeParameters: "CR_Core",
    ReturnToService: 2,
    // Ended jobs stay visible to scontrol until the test has asked.
    MinJobAge: 300,
  }
  const cpus = navigator.hardwareConcurrency
  return `${Object.entries(lines)
    .map(([key, value]) => `${key}=${value}`)
    .join("\n")}
NodeName=${hostname()} NodeAddr=127.0.0.1 CPUs=${cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`
}
