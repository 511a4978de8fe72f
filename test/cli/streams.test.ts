/** Standard streams that are closed, full or absent, and an environment that is empty. */
import { describe, expect, test } from "bun:test"
import { mkdirSync, readdirSync } from "node:fs"
import { temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { BIN, run, runCommand, shell } from "./program.ts"

describe("standard output", () => {
  test("a reader that goes away ends the program quietly", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.path)
    for (const command of ["man", "completion zsh", `inspect ${folder.path} --tensors`]) {
      // The status of the program, not of the pipe, comes out on descriptor 3.
      const script = `{ { "$BIN" ${command}; echo "$?" >&3; } | true; } 3>&1`
      const { stdout, stderr } = await shell(script)
      expect(stdout).toBe("0\n")
      expect(stderr).toBe("")
    }
  })

  test("the first lines reach a reader that wants no more", async () => {
    const { stdout, stderr, exitCode } = await shell('"$BIN" man | head -n 1')
    expect(stdout).toStartWith(".TH DEQUANTIZER 1")
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
  })

  test("a full device is an I/O error in one line", async () => {
    const { stderr, exitCode } = await shell('"$BIN" formats >/dev/full')
    expect(stderr).toBe("dequantizer: standard output: cannot write (ENOSPC)\n")
    expect(exitCode).toBe(5)
  })

  test("closed streams are no one's fault", async () => {
    for (const redirection of [">&-", "2>&-", "<&- >&- 2>&-"]) {
      const { stderr, exitCode } = await shell(`"$BIN" formats ${redirection}`)
      expect(stderr).toBe("")
      expect(exitCode).toBe(0)
    }
    expect((await shell('"$BIN" inspect /no/such/file 2>&-')).exitCode).toBe(5)
  })

  test("a pipe that was made non-blocking gets every byte", async () => {
    const script = `
      import array, fcntl, os, subprocess, sys, termios, time
      reader, writer = os.pipe()
      os.set_blocking(writer, False)
      fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
      child = subprocess.Popen([sys.argv[1], "man"], stdout=writer)
      os.close(writer)
      # The program has met the full pipe before the first byte is taken out: the pause can only make that surer.
      waiting = array.array("i", [0])
      while waiting[0] < 4096: fcntl.ioctl(reader, termios.FIONREAD, waiting)
      time.sleep(0.1)
      parts = []
      while part := os.read(reader, 64): parts.append(part)
      sys.stdout.buffer.write(b"".join(parts))
      sys.exit(child.wait())`
    const whole = await run(["man"])
    const { stdout, exitCode } = await runCommand(["python3", "-c", script.replaceAll("\n      ", "\n"), BIN])
    expect(stdout).toBe(whole.stdout)
    expect(exitCode).toBe(0)
  })
})

describe("environment", () => {
  test("an empty folder and an empty environment are enough", async () => {
    using folder = temporaryFolder()
    mkdirSync(folder.file("empty"))
    const options = { cwd: folder.file("empty"), env: {} }
    for (const args of [["--version"], ["help"], ["formats"], ["doctor", "--json"]]) {
      const { stdout, stderr, exitCode } = await run(args, options)
      expect(stdout).not.toBe("")
      expect(stderr).toBe("")
      expect(exitCode).toBe(0)
    }
    expect(readdirSync(folder.file("empty"))).toEqual([])
  })

  test("no colour reaches a pipe, and --color always does", async () => {
    const forced = { PATH: "/usr/bin:/bin", FORCE_COLOR: "1", CLICOLOR_FORCE: "1", TERM: "xterm-256color" }
    expect((await run(["formats"], { env: forced })).stdout).not.toContain("\u001b")
    expect((await run(["formats", "--color", "always"])).stdout).toContain("\u001b[1m")
  })
})

describe("temporary folder", () => {
  /** A tmpfs that forbids execution, in a mount namespace of its own; needs root. */
  const inNoexec = (command: string): string =>
    `unshare --mount sh -c 'mount -t tmpfs -o noexec tmpfs "$FOLDER" && BUN_TMPDIR="$FOLDER" ${command}'`

  test("one that forbids execution is enough: the library is opened from memory", async () => {
    using folder = temporaryFolder()
    const env = { PATH: process.env.PATH ?? "/usr/bin:/bin:/usr/sbin:/sbin", FOLDER: folder.path }
    if ((await shell(inNoexec("true"), { env })).exitCode !== 0) {
      console.log("not tried: mounting a noexec folder needs root")
      return
    }
    const { stdout, stderr, exitCode } = await shell(inNoexec('"$BIN" doctor'), { env })
    expect(stdout).toContain(`temp folder  ${folder.path}  writable, noexec`)
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
  })

  test("nothing is left in it", async () => {
    using folder = temporaryFolder()
    const { stderr, exitCode } = await run(["doctor"], { env: { PATH: "/usr/bin:/bin", BUN_TMPDIR: folder.path } })
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
    expect(readdirSync(folder.path)).toEqual([])
  })

  test("one that does not exist is named", async () => {
    const env = { PATH: "/usr/bin:/bin", BUN_TMPDIR: "/no/such/folder" }
    const { stderr, exitCode } = await run(["doctor"], { env })
    expect(stderr).toMatch(/^dequantizer: \/no\/such\/folder: [^\n]*\n$/)
    expect(exitCode).toBe(5)
  })
})
