"""Gives up, for the process that calls it and for good, everything that a submission does not need.

These limits are the inner wall: they hold inside bubblewrap and, on a platform whose container is the outer wall,
without it. They are set before the first line of a submission is read.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct

# The user "nobody" on every Linux: it owns nothing.
UNPRIVILEGED = 65534

# System calls that are refused, by their numbers on x86_64 and on aarch64 (None: not there). They start other programs,
# speak to the network, reach memory that the limit on the address space does not count, look into other processes, or
# are doors into the kernel that no exercise needs.
REFUSED: dict[str, tuple[int, int | None]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "swapon": (167, 224),
    "reboot": (169, 142),
}
# The number by which the kernel calls each architecture, in the order of the columns above (linux/audit.h).
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# x86_64 has a second table of system calls, with this bit set in every number.
X32 = 0x40000000

# Classic BPF, as seccomp takes it (linux/bpf_common.h, linux/seccomp.h).
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
NUMBER, ARCHITECTURE = 0, 4
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


def confine(seconds: int, memory: int) -> None:
    """Drop root, cap time, memory, processes and files, and refuse the system calls of :data:`REFUSED`.

    Parameters
    ----------
    seconds : of processor time.
    memory : bytes of address space.

    Raises
    ------
    OSError : if the machine refuses any of it; then nothing untrusted may run here.
    """
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
        os.setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        # No process and no thread beside this one: memory is then what this one may have.
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_FSIZE, 2**20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _refuse_system_calls()


def _refuse_system_calls() -> None:
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise OSError(f"no list of system calls for {machine}: grade on {' or '.join(ARCHITECTURES)}")
    column, architecture = ARCHITECTURES[machine]
    numbers = [number for row in REFUSED.values() if (number := row[column]) is not None]
    code = [
        _instruction(LOAD, ARCHITECTURE),
        _instruction(JUMP_IF_EQUAL, architecture, if_true=1),
        _instruction(RETURN, KILL),
        _instruction(LOAD, NUMBER),
        _instruction(JUMP_IF_AT_LEAST, X32, if_false=1),
        _instruction(RETURN, REFUSE),
    ]
    for number in numbers:
        code += [_instruction(JUMP_IF_EQUAL, number, if_false=1), _instruction(RETURN, REFUSE)]
    code.append(_instruction(RETURN, ALLOW))
    instructions = ctypes.create_string_buffer(b"".join(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(instructions)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")


def _instruction(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """``struct sock_filter`` of linux/filter.h."""
    return struct.pack("HBBI", operation, if_true, if_false, value)
