"""The system calls that a snippet may not make, as a seccomp program (classic BPF), without a library for it.

A list of what is refused, since a list of what is allowed breaks with every libc and NumPy. Refused, with EPERM, are
new processes and programs (threads are allowed), signals to and limits on others, tracing, sockets, mounts,
namespaces, memory that no limit counts (memfd, System V, message queues) and corners of the kernel that no mathematics
needs. The numbers are the kernel's, fixed for ever: name -> (x86_64, aarch64), None where the machine lacks the call.
"""
import errno
import struct

DENIED = {
    'fork': (57, None), 'vfork': (58, None), 'execve': (59, 221), 'execveat': (322, 281),
    'kill': (62, 129), 'tkill': (200, 130), 'tgkill': (234, 131), 'rt_sigqueueinfo': (129, 138),
    'rt_tgsigqueueinfo': (297, 240), 'pidfd_open': (434, 434), 'pidfd_getfd': (438, 438),
    'pidfd_send_signal': (424, 424), 'ptrace': (101, 117), 'process_vm_readv': (310, 270),
    'process_vm_writev': (311, 271), 'process_madvise': (440, 440),
    'kcmp': (312, 272), 'move_pages': (279, 239), 'migrate_pages': (256, 238),
    'sched_setaffinity': (203, 122), 'sched_setscheduler': (144, 119), 'sched_setparam': (142, 118),
    'sched_setattr': (314, 274), 'setpriority': (141, 140), 'ioprio_set': (251, 30),
    'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41), 'chroot': (161, 51), 'open_tree': (428, 428),
    'move_mount': (429, 429), 'fsopen': (430, 430), 'fsconfig': (431, 431), 'fsmount': (432, 432), 'fspick': (433, 433),
    'mount_setattr': (442, 442), 'unshare': (272, 97), 'setns': (308, 268), 'quotactl': (179, 60),
    'name_to_handle_at': (303, 264), 'open_by_handle_at': (304, 265), 'socket': (41, 198), 'socketpair': (53, 199),
    'memfd_create': (319, 279), 'memfd_secret': (447, 447), 'shmget': (29, 194), 'msgget': (68, 186),
    'semget': (64, 190), 'mq_open': (240, 180), 'add_key': (248, 217), 'request_key': (249, 218), 'keyctl': (250, 219),
    'io_uring_setup': (425, 425), 'io_uring_enter': (426, 426), 'io_uring_register': (427, 427),
    'bpf': (321, 280), 'perf_event_open': (298, 241), 'userfaultfd': (323, 282), 'fanotify_init': (300, 262),
    'personality': (135, 92), 'modify_ldt': (154, None), 'syslog': (103, 116),
}
CLONE = (56, 220)           # allowed for threads
CLONE3 = (435, 435)         # its flags lie in memory, where a filter cannot look: ENOSYS makes the libc take clone
PRLIMIT64 = (302, 261)      # allowed on oneself
MACHINES = {'x86_64': 0xC000003E, 'aarch64': 0xC00000B7}    # AUDIT_ARCH_*, in the order of the pairs above

CLONE_THREAD = 0x00010000
X32 = 0x40000000            # bit of the second set of numbers that x86_64 kernels may answer to
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, MACHINE, ARGUMENT = 0, 4, 16    # offsets in struct seccomp_data; ARGUMENT is the low half of the first one
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str) -> bytes:
    """The filter for a machine, one of MACHINES, as an array of struct sock_filter."""
    column = list(MACHINES).index(machine)
    code = [
        (LOAD, MACHINE), (EQUAL, MACHINES[machine], 'next', 'kill'),
        (LOAD, NUMBER), (AT_LEAST, X32, 'deny', 'next'),
        (EQUAL, CLONE3[column], 'absent', 'next'),
        *((EQUAL, pair[column], 'deny', 'next') for pair in DENIED.values() if pair[column] is not None),
        (EQUAL, CLONE[column], 'next', 'not clone'),
        (LOAD, ARGUMENT), (ANY_BIT, CLONE_THREAD, 'allow', 'deny'),
        'not clone', (EQUAL, PRLIMIT64[column], 'next', 'allow'),
        (LOAD, ARGUMENT), (EQUAL, 0, 'allow', 'deny'),
        'allow', (RETURN, ALLOW),
        'deny', (RETURN, ERRNO | errno.EPERM),
        'absent', (RETURN, ERRNO | errno.ENOSYS),
        'kill', (RETURN, KILL),
    ]
    return _assemble(code)


def _assemble(code: list) -> bytes:
    """Labels and instructions (operation, value[, label if true, if false]) -> bytes; a jump counts what it skips."""
    places, instructions = {}, []
    for line in code:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)
    packed = []
    for number, (operation, value, *labels) in enumerate(instructions):
        jumps = [places.get(label, number + 1) - number - 1 for label in labels] or [0, 0]
        packed.append(struct.pack('=HBBI', operation, *jumps, value))
    return b''.join(packed)
