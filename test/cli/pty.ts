/** What tests of a real terminal share: the program on a pseudo-terminal, by Python's standard library. */

/**
 * Python that opens a pseudo-terminal and has `start(columns, command)` run a command on it, whose process it returns.
 * The terminal's own end is `master`; `resize(columns)` gives it another width, which sends SIGWINCH.
 */
export const PTY_SCRIPT = `
import fcntl, json, os, pty, signal, struct, sys, termios, time
master, slave = pty.openpty()
def resize(columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
def start(columns, command):
    resize(columns)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2): os.dup2(slave, fd)
        os.execv(command[0], command)
    os.close(slave)
    return child
def read():
    try:
        return os.read(master, 65536)
    except OSError:
        return b""
def exit_status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
`
