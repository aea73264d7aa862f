/* The first process of a container: what shim.sh is for a process.
 *
 *   /.plum/init KEEP|BECOME PROGRAM ARGUMENTS...
 *
 *   /.plum/stdout.log, stderr.log   opened for append; nobody stands between the workload and its files
 *   /.plum/stdin                    what the program reads, where there is such a file
 *   /.plum/status                   the kernel's wait status of the program as a decimal number and a newline, when it ended
 *
 * KEEP stays process 1: it gives the program a session and a process group of its own, passes every signal on to that
 * group, reaps orphans, and ends with the program; the kernel ends whatever is left. BECOME turns into the program, for
 * images that must be process 1 themselves.
 *
 * No library: images may have none. Built by build.sh; the binaries beside this file are what it makes.
 */

#if defined(__x86_64__)
enum { WRITE = 1, SIGPROCMASK = 14, CLONE = 56, EXECVE = 59, WAIT4 = 61, KILL = 62, SETSID = 112, SIGTIMEDWAIT = 128,
       EXIT_GROUP = 231, OPENAT = 257, DUP3 = 292 };
__asm__(".globl _start\n_start:\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start\n");

static long call(long number, long a, long b, long c, long d) {
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
enum { DUP3 = 24, OPENAT = 56, WRITE = 64, EXIT_GROUP = 94, KILL = 129, SIGPROCMASK = 135, SIGTIMEDWAIT = 137, SETSID = 157,
       CLONE = 220, EXECVE = 221, WAIT4 = 260 };
__asm__(".globl _start\n_start:\n  mov x0, sp\n  and sp, x0, #-16\n  bl start\n");

static long call(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
#endif

enum { ENOENT = 2, EACCES = 13, ENOTDIR = 20, SIGCHLD = 17, WNOHANG = 1, SIG_SETMASK = 2, AT_FDCWD = -100,
       O_RDONLY = 0, O_WRONLY = 1, O_APPEND = 02000, O_CLOEXEC = 02000000 };

static unsigned long length(const char *text) {
    unsigned long count = 0;
    while (text[count]) count++;
    return count;
}

static void say(const char *text) { call(WRITE, 2, (long)text, (long)length(text), 0); }

static void redirect(const char *file, int flags, int descriptor) {
    long opened = call(OPENAT, AT_FDCWD, (long)file, flags | O_CLOEXEC, 0);
    if (opened >= 0) call(DUP3, opened, descriptor, 0, 0);
}

/* execvp: does not return when it worked. */
static void become(char **arguments, char **environment) {
    static char candidate[4200];
    const char *name = arguments[0], *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    unsigned long size = length(name);
    long error = ENOENT;

    for (unsigned long at = 0; at < size; at++)
        if (name[at] == '/') {
            error = -call(EXECVE, (long)name, (long)arguments, (long)environment, 0);
            path = "";
        }
    for (char **one = environment; *one; one++)
        if (path[0] && (*one)[0] == 'P' && (*one)[1] == 'A' && (*one)[2] == 'T' && (*one)[3] == 'H' && (*one)[4] == '=') path = *one + 5;
    while (*path && size) {
        unsigned long used = 0;
        while (path[used] && path[used] != ':') used++;
        if (used && used + size + 2 < sizeof candidate) {
            for (unsigned long at = 0; at < used; at++) candidate[at] = path[at];
            candidate[used] = '/';
            for (unsigned long at = 0; at <= size; at++) candidate[used + 1 + at] = name[at];
            long failed = -call(EXECVE, (long)candidate, (long)arguments, (long)environment, 0);
            if (failed != ENOENT && failed != ENOTDIR) error = failed;
        }
        path += used + (path[used] == ':');
    }
    say(name);
    say(error == ENOENT ? ": not found in this image\n" : error == EACCES ? ": permission denied\n" : ": cannot be executed here\n");
    call(EXIT_GROUP, error == ENOENT ? 127 : 126, 0, 0, 0);
}

static void write_status(long status) {
    char text[24];
    int at = sizeof text;
    text[--at] = '\n';
    do text[--at] = (char)('0' + status % 10); while (status /= 10);
    long file = call(OPENAT, AT_FDCWD, (long)"/.plum/status", O_WRONLY | O_CLOEXEC, 0);
    if (file >= 0) call(WRITE, file, (long)(text + at), (long)sizeof text - at, 0);
}

__attribute__((used)) void start(long *stack) {
    long count = *stack;
    char **arguments = (char **)(stack + 1), **environment = arguments + count + 1;
    if (count < 3) call(EXIT_GROUP, 125, 0, 0, 0);
    redirect("/.plum/stdin", O_RDONLY, 0);
    redirect("/.plum/stdout.log", O_WRONLY | O_APPEND, 1);
    redirect("/.plum/stderr.log", O_WRONLY | O_APPEND, 2);
    if (arguments[1][0] == 'B') become(arguments + 2, environment);

    unsigned long all = ~0ul, before = 0;
    call(SIGPROCMASK, SIG_SETMASK, (long)&all, (long)&before, sizeof all);
    long child = call(CLONE, SIGCHLD, 0, 0, 0);
    if (child < 0) {
        say("plum: no process can be started in this container\n");
        call(EXIT_GROUP, 126, 0, 0, 0);
    }
    if (child == 0) {
        call(SETSID, 0, 0, 0, 0);
        call(SIGPROCMASK, SIG_SETMASK, (long)&before, 0, sizeof before);
        become(arguments + 2, environment);
    }
    for (;;) {
        long number = call(SIGTIMEDWAIT, (long)&all, 0, 0, sizeof all);
        if (number > 0 && number != SIGCHLD && call(KILL, -child, number, 0, 0) < 0) call(KILL, child, number, 0, 0);
        for (;;) {
            int status = 0;
            long ended = call(WAIT4, -1, (long)&status, WNOHANG, 0);
            if (ended <= 0) break;
            if (ended != child) continue;
            write_status(status);
            call(EXIT_GROUP, status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff, 0, 0, 0);
        }
    }
}
