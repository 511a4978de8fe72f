/** Linux errno numbers (asm-generic/errno-base.h, errno.h) as sentences for messages, with a hint where there is a way on. */

interface ErrnoRow {
  readonly name: string
  readonly text: string
  readonly hint?: string
}

const ERRNO: ReadonlyMap<number, ErrnoRow> = new Map([
  [1, { name: "EPERM", text: "operation not permitted" }],
  [2, { name: "ENOENT", text: "no such file or folder" }],
  [5, { name: "EIO", text: "the device reports an I/O error", hint: "look at the kernel's log (dmesg)" }],
  [11, { name: "EAGAIN", text: "the system has no room for another thread", hint: "use fewer with -j" }],
  [12, { name: "ENOMEM", text: "out of memory" }],
  [13, { name: "EACCES", text: "permission denied" }],
  [16, { name: "EBUSY", text: "the file is in use" }],
  [17, { name: "EEXIST", text: "exists already", hint: "another run may be writing it" }],
  [20, { name: "ENOTDIR", text: "a part of the path is not a folder" }],
  [21, { name: "EISDIR", text: "is a folder" }],
  [22, { name: "EINVAL", text: "the file system refuses the operation" }],
  [23, { name: "ENFILE", text: "the system has too many open files" }],
  [24, { name: "EMFILE", text: "too many open files", hint: "raise the limit with `ulimit -n`" }],
  [26, { name: "ETXTBSY", text: "the file is being executed" }],
  [
    27,
    { name: "EFBIG", text: "the file would be larger than allowed", hint: "use --shard-size or `ulimit -f unlimited`" },
  ],
  [28, { name: "ENOSPC", text: "no space left on the device", hint: "`convert --dry-run` prints how much is needed" }],
  [30, { name: "EROFS", text: "the file system is read-only" }],
  [36, { name: "ENAMETOOLONG", text: "the name is too long" }],
  [38, { name: "ENOSYS", text: "this kernel cannot do it" }],
  [40, { name: "ELOOP", text: "is a symbolic link, or there are too many in the path" }],
  [75, { name: "EOVERFLOW", text: "the file is too large for this system" }],
  [95, { name: "EOPNOTSUPP", text: "the file system does not support the operation" }],
  [110, { name: "ETIMEDOUT", text: "the file system timed out" }],
  [116, { name: "ESTALE", text: "the file's handle is stale", hint: "the network file system lost it; try again" }],
  [122, { name: "EDQUOT", text: "the disk quota is used up" }],
])

/** The row of `errno`; a number without one keeps its number. */
export function describeErrno(errno: number): ErrnoRow {
  return ERRNO.get(errno) ?? { name: `errno ${errno}`, text: `system error ${errno}` }
}
