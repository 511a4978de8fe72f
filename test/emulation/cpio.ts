/**
 * Writes an initramfs: a cpio archive in the "newc" form, uncompressed, which the kernel unpacks into its root
 * (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
 */

export interface Entry {
  /** Path below the root, without a leading slash. */
  name: string
  /** File type and permissions as in st_mode. */
  mode: number
  data?: Uint8Array
  /** Major and minor number of a device node. */
  device?: readonly [number, number]
}

export const MODE_FOLDER = 0o040755
export const MODE_PROGRAM = 0o100755
export const MODE_CONSOLE = 0o020600

const encoder = new TextEncoder()

function padding(size: number): Uint8Array {
  return new Uint8Array((4 - (size % 4)) % 4)
}

/** The archive of `entries`, in their order: a folder stands before what is in it. */
export function cpioArchive(entries: readonly Entry[]): Uint8Array {
  const parts: Uint8Array[] = []
  const add = (entry: Entry, inode: number) => {
    const name = encoder.encode(`${entry.name}\0`)
    const data = entry.data ?? new Uint8Array()
    const [major, minor] = entry.device ?? [0, 0]
    // c_ino c_mode c_uid c_gid c_nlink c_mtime c_filesize c_devmajor c_devminor c_rdevmajor c_rdevminor c_namesize c_check
    const fields = [inode, entry.mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0]
    const header = encoder.encode(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`)
    parts.push(header, name, padding(header.length + name.length), data, padding(data.length))
  }
  entries.forEach((entry, index) => {
    add(entry, index + 1)
  })
  add({ name: "TRAILER!!!", mode: 0 }, 0)
  return Buffer.concat(parts)
}
