/* busy MS COMMAND [ARGUMENT...]: uses a processor for MS milliseconds, as an app that loads its code does, then becomes
 * COMMAND. An app that merely slept would start faster on one core than any real one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long used_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fputs("usage: busy MS COMMAND [ARGUMENT...]\n", stderr);
        return 64;
    }
    long long end = strtoll(arguments[1], NULL, 10) * 1000000;
    while (used_ns() < end)
        ;
    execvp(arguments[2], arguments + 2);
    perror(arguments[2]);
    return 127;
}
