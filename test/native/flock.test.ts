/** flock(2) as the kernel answers it, and the meaning of its failures. */
import { expect, test } from "bun:test"
import { closeSync, openSync, readFileSync } from "node:fs"
import { flockFailure, tryFlock } from "../../src/native/flock.ts"
import { temporaryFolder } from "../support/checkpoints.ts"

test("of two open files of one file one is locked, until it is closed", () => {
  using folder = temporaryFolder()
  const [a, b] = [openSync(folder.file("lock"), "w"), openSync(folder.file("lock"), "w")]
  expect(tryFlock(a)).toBe("locked")
  expect(tryFlock(b)).toBe("held")
  expect(readFileSync(`/proc/self/fdinfo/${a}`, "utf8")).toMatch(/FLOCK +ADVISORY +WRITE/)
  closeSync(a)
  expect(tryFlock(b)).toBe("locked")
  closeSync(b)
})

test("a descriptor that is not open gives EBADF", () => {
  expect(tryFlock(-1)).toEqual({ errno: 9 })
})

test.each([37, 38, 95])("errno %d says that the file system has no locks", (errno) => {
  expect(flockFailure(errno)).toBe("unsupported")
})
