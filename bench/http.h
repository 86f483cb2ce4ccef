/* HTTP/1.1, server side, for the two programs of this directory: blocking, one thread per connection, loopback only.
 *
 * A connection has one buffer of fixed size. Its pages are not touched before they are needed, so a small exchange costs
 * no more than it would with a small buffer, and a large body is received where it stays.
 */
#ifndef HTTP_H
#define HTTP_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The largest event is 6 MiB, the largest answer 6 MiB and 100 bytes; what is more is refused by closing. */
#define BUFFER_SIZE (16u << 20)
#define HEAD_LIMIT (1u << 20)
/* As much as one call takes when it is not known how much is coming. */
#define RECEIVE_SIZE (64u << 10)

struct connection {
    int descriptor;
    bool quick_ack;
    char *buffer;
    size_t end; /* so many bytes are in the buffer */
};

struct request {
    char *method, *target; /* of the head, in the buffer */
    char *fields;          /* the field lines, with one NUL at their end */
    char *body;
    size_t length;
    uint64_t head_at; /* when the head was complete, in ns of CLOCK_MONOTONIC */
    size_t size;      /* of all of it, in the buffer */
};

static __attribute__((unused)) uint64_t now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(1);
}

/* Listen on 127.0.0.1; port 0 is any. The port that it became is written back. */
static int listen_on(uint16_t *port)
{
    int on = 1, descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(descriptor, (struct sockaddr *)&address, size) || listen(descriptor, 256))
        die("cannot listen on 127.0.0.1:%u: %s", *port, strerror(errno));
    getsockname(descriptor, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return descriptor;
}

/* Serve connections for ever, each in a thread of its own. */
static __attribute__((noreturn)) void accept_all(int listener, bool quick_ack, void *(*serve)(void *))
{
    for (;;) {
        int on = 1, descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (descriptor < 0)
            continue; /* the client was gone before it was taken */
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = malloc(sizeof *connection);
        void *buffer = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        pthread_t thread;
        if (!connection || buffer == MAP_FAILED)
            die("out of memory");
        *connection = (struct connection){descriptor, quick_ack, buffer, 0};
        if (pthread_create(&thread, NULL, serve, connection))
            die("cannot start a thread");
        pthread_detach(thread);
    }
}

static void close_connection(struct connection *connection)
{
    close(connection->descriptor);
    munmap(connection->buffer, BUFFER_SIZE);
    free(connection);
}

/* Receive up to `size` more bytes; all of them if `whole`. False when the client is gone or the buffer is full. */
static bool receive(struct connection *connection, size_t size, bool whole)
{
    if (connection->end + size > BUFFER_SIZE)
        return false;
    ssize_t received;
    do
        received = recv(connection->descriptor, connection->buffer + connection->end, size, whole ? MSG_WAITALL : 0);
    while (received < 0 && errno == EINTR);
    if (received <= 0)
        return false;
    connection->end += (size_t)received;
    if (connection->quick_ack) { /* the kernel forgets it after a while: each receive has to ask again */
        int on = 1;
        setsockopt(connection->descriptor, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    }
    return true;
}

/* The value of the field `name` up to the end of its line, or NULL. */
static __attribute__((unused)) const char *field(const struct request *request, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = request->fields; line && *line; line = strstr(line, "\r\n"), line += line ? 2 : 0)
        if (!strncasecmp(line, name, length) && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    return NULL;
}

/* Take the chunked body that begins at `at` apart, in place. False when the client is gone or it is malformed. */
static bool read_chunked(struct connection *connection, size_t at, struct request *request)
{
    size_t body = at, length = 0;
    for (;;) {
        char *line_end;
        while (!(line_end = memmem(connection->buffer + at, connection->end - at, "\r\n", 2)))
            if (!receive(connection, RECEIVE_SIZE, false))
                return false;
        char *digits_end;
        size_t size = strtoul(connection->buffer + at, &digits_end, 16);
        if (digits_end == connection->buffer + at || size > BUFFER_SIZE)
            return false;
        at = (size_t)(line_end + 2 - connection->buffer);
        size_t wanted = at + size + 2; /* the empty line after a chunk; after the last one that of the trailers */
        while (connection->end < wanted)
            if (!receive(connection, wanted - connection->end, true))
                return false;
        if (size == 0)
            break; /* trailers are not read: nobody here sends any, except a failing stream */
        memmove(connection->buffer + body + length, connection->buffer + at, size);
        length += size;
        at = wanted;
    }
    while (memcmp(connection->buffer + at, "\r\n", 2)) { /* trailers */
        char *line_end;
        while (!(line_end = memmem(connection->buffer + at, connection->end - at, "\r\n", 2)))
            if (!receive(connection, RECEIVE_SIZE, false))
                return false;
        at = (size_t)(line_end + 2 - connection->buffer);
        while (connection->end < at + 2)
            if (!receive(connection, RECEIVE_SIZE, false))
                return false;
    }
    request->body = connection->buffer + body;
    request->length = length;
    request->size = at + 2;
    return true;
}

static bool read_known_length(struct connection *connection, size_t at, size_t length, struct request *request)
{
    if (length > BUFFER_SIZE - at)
        return false;
    while (connection->end < at + length)
        if (!receive(connection, at + length - connection->end, true))
            return false;
    request->body = connection->buffer + at;
    request->length = length;
    request->size = at + length;
    return true;
}

/* Read the head of the next request. False when the client is gone, or sends what is none. */
static bool read_head(struct connection *connection, struct request *request)
{
    size_t searched = 0;
    char *end;
    while (!(end = memmem(connection->buffer + searched, connection->end - searched, "\r\n\r\n", 4))) {
        searched = connection->end > 3 ? connection->end - 3 : 0;
        if (connection->end > HEAD_LIMIT || !receive(connection, RECEIVE_SIZE, false))
            return false;
    }
    request->head_at = now_ns(CLOCK_MONOTONIC);
    end[2] = '\0'; /* each field line keeps its CR LF */
    request->method = connection->buffer;
    request->target = strchr(connection->buffer, ' ');
    request->fields = strstr(connection->buffer, "\r\n");
    if (!request->target || !request->fields || request->target > request->fields)
        return false;
    *request->target++ = '\0';
    request->fields += 2;
    char *version = strchr(request->target, ' ');
    if (!version || version > request->fields)
        return false;
    *version = '\0';
    request->body = end + 4;
    return true;
}

/* Read the body of the request whose head was read. */
static bool read_body(struct connection *connection, struct request *request)
{
    size_t at = (size_t)(request->body - connection->buffer);
    const char *coding = field(request, "transfer-encoding"), *length = field(request, "content-length");
    if (coding && !strncasecmp(coding, "chunked", 7))
        return read_chunked(connection, at, request);
    return read_known_length(connection, at, length ? strtoul(length, NULL, 10) : 0, request);
}

/* Forget a request that was answered; its strings are gone then. */
static void drop_request(struct connection *connection, const struct request *request)
{
    connection->end -= request->size;
    if (connection->end) /* a client that does not wait for the answer */
        memmove(connection->buffer, connection->buffer + request->size, connection->end);
}

/* Send both parts whole, in one call if the socket takes them. */
static bool send_two(int descriptor, const void *head, size_t head_size, const void *body, size_t body_size)
{
    struct iovec parts[2] = {{(void *)head, head_size}, {(void *)body, body_size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = body_size ? 2 : 1};
    while (parts[0].iov_len + parts[1].iov_len) {
        ssize_t sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        for (int part = 0; part < 2; part++) {
            size_t taken = (size_t)sent < parts[part].iov_len ? (size_t)sent : parts[part].iov_len;
            parts[part].iov_base = (char *)parts[part].iov_base + taken;
            parts[part].iov_len -= taken;
            sent -= (ssize_t)taken;
        }
    }
    return true;
}

#endif
