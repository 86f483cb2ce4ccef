/* A web server that costs as little as one can: what is measured with it is what stands between Lambda and an app.
 *
 * Listens on 127.0.0.1:$PORT (8080), HTTP/1.1 with keep-alive, one thread per connection.
 *
 *   /                          200, no body: ready
 *   /small                     200, JSON of 27 bytes
 *   /large?N[&binary]          N bytes of text, or of binary data, with their length
 *   /chunked?N[&chunk=SIZE]    the same in chunks of SIZE bytes (2000), one send each; [&pause=US] microseconds apart
 *   /stamps?N                  N server-sent events (10), one each [&pause=US] microseconds (1000): the nanoseconds of
 *                              CLOCK_MONOTONIC at which it was written, or [&stamp=NUMBER]
 *   /length                    how long the request's body was: {"length":N}
 *   /echo[?text]               the request's body, as binary data or as text
 *   /stderr?N                  writes N lines (5) to stderr, then answers as /small does
 *   /sleep?MS                  as /small does, MS milliseconds later
 *   anything else              as /length does: POST /events among them
 */
#include "http.h"

/* What /large and /chunked send a part of. Text that has to be escaped nowhere, and bytes that are not UTF-8. */
static char text[BUFFER_SIZE], binary[BUFFER_SIZE];
/* Filled when first asked for: it takes longer than all the rest of the start. */
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
    for (size_t at = 0; at < sizeof text; at++) {
        text[at] = "The quick brown fox jumps over the lazy dog. "[at % 45];
        binary[at] = (char)(at * 131 ^ at >> 8);
    }
}

static bool answer(struct connection *connection, const struct request *request, const char *type, const char *body,
                   size_t length)
{
    char head[256];
    int size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", type,
                        length);
    return send_two(connection->descriptor, head, (size_t)size, body, strcmp(request->method, "HEAD") ? length : 0);
}

static bool answer_small(struct connection *connection, const struct request *request)
{
    static const char body[] = "{\"message\":\"hello, world!\"}";
    return answer(connection, request, "application/json", body, sizeof body - 1);
}

static bool answer_length(struct connection *connection, const struct request *request)
{
    char body[64];
    int size = snprintf(body, sizeof body, "{\"length\":%zu}", request->length);
    return answer(connection, request, "application/json", body, (size_t)size);
}

/* The value of `name` in a query such as "1000&chunk=5", or `usual`. "" is the one without a name, at the beginning. */
static size_t number(const char *query, const char *name, size_t usual)
{
    if (!*name)
        return *query >= '0' && *query <= '9' ? strtoul(query, NULL, 10) : usual;
    const char *found = strstr(query, name);
    return found && found[strlen(name)] == '=' ? strtoul(found + strlen(name) + 1, NULL, 10) : usual;
}

static const char *data(const char *query)
{
    pthread_once(&filled, fill);
    return strstr(query, "binary") ? binary : text;
}

static const char *type(const char *query)
{
    return strstr(query, "binary") ? "application/octet-stream" : "text/plain; charset=utf-8";
}

/* `data` is repeated where more is asked for than it has. */
static bool answer_large(struct connection *connection, const struct request *request, const char *query)
{
    size_t size = number(query, "", 1000), first = size < BUFFER_SIZE ? size : BUFFER_SIZE;
    char head[256];
    int head_size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                             type(query), size);
    if (!strcmp(request->method, "HEAD"))
        return send_two(connection->descriptor, head, (size_t)head_size, NULL, 0);
    bool sent = send_two(connection->descriptor, head, (size_t)head_size, data(query), first);
    for (size_t at = first, length; sent && at < size; at += length) {
        length = size - at < BUFFER_SIZE ? size - at : BUFFER_SIZE;
        sent = send_two(connection->descriptor, NULL, 0, data(query), length);
    }
    return sent;
}

static bool answer_chunked(struct connection *connection, const char *query)
{
    size_t size = number(query, "", 1000), chunk = number(query, "chunk", 2000), pause = number(query, "pause", 0);
    char head[256];
    int head_size = snprintf(head, sizeof head,
                             "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", type(query));
    if (!chunk || chunk > BUFFER_SIZE / 2 || !send_two(connection->descriptor, head, (size_t)head_size, NULL, 0))
        return false;
    for (size_t at = 0; at < size; at += chunk) {
        size_t length = size - at < chunk ? size - at : chunk;
        head_size = snprintf(head, sizeof head, "%s%zx\r\n", at ? "\r\n" : "", length);
        if (pause)
            usleep((useconds_t)pause);
        if (!send_two(connection->descriptor, head, (size_t)head_size, data(query) + at % (BUFFER_SIZE / 2), length))
            return false;
    }
    return send_two(connection->descriptor, size ? "\r\n0\r\n\r\n" : "0\r\n\r\n", size ? 7 : 5, NULL, 0);
}

static bool answer_stamps(struct connection *connection, const char *query)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    size_t count = number(query, "", 10), pause = number(query, "pause", 1000), stamp = number(query, "stamp", 0);
    char event[64], chunk[96];
    if (!send_two(connection->descriptor, head, sizeof head - 1, NULL, 0))
        return false;
    while (count--) {
        if (pause)
            usleep((useconds_t)pause);
        unsigned long long written = stamp ? stamp : now_ns(CLOCK_MONOTONIC);
        int size = snprintf(event, sizeof event, "data: %llu\n\n", written);
        size = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, event);
        if (!send_two(connection->descriptor, chunk, (size_t)size, NULL, 0))
            return false;
    }
    return send_two(connection->descriptor, "0\r\n\r\n", 5, NULL, 0);
}

static void write_lines(size_t count)
{
    static const char line[] = "INFO  request handled in 0.1 ms, status 200, as an app's log has it\n";
    while (count--)
        if (write(STDERR_FILENO, line, sizeof line - 1) < 0)
            return;
}

static bool serve_request(struct connection *connection, const struct request *request)
{
    char *query = strchr(request->target, '?');
    if (query)
        *query++ = '\0';
    else
        query = "";
    const char *path = request->target;
    if (!strcmp(path, "/small"))
        return answer_small(connection, request);
    if (!strcmp(path, "/"))
        return answer(connection, request, "text/plain", "", 0);
    if (!strcmp(path, "/large"))
        return answer_large(connection, request, query);
    if (!strcmp(path, "/chunked"))
        return answer_chunked(connection, query);
    if (!strcmp(path, "/stamps"))
        return answer_stamps(connection, query);
    if (!strcmp(path, "/echo"))
        return answer(connection, request,
                      strstr(query, "text") ? "text/plain; charset=utf-8" : "application/octet-stream", request->body,
                      request->length);
    if (!strcmp(path, "/stderr"))
        write_lines(number(query, "", 5));
    else if (!strcmp(path, "/sleep"))
        usleep((useconds_t)(number(query, "", 0) * 1000));
    else
        return answer_length(connection, request);
    return answer_small(connection, request);
}

static void *serve(void *argument)
{
    struct connection *connection = argument;
    struct request request;
    while (read_head(connection, &request) && read_body(connection, &request) && serve_request(connection, &request))
        drop_request(connection, &request);
    close_connection(connection);
    return NULL;
}

int main(void)
{
    const char *given = getenv("PORT");
    uint16_t port = given ? (uint16_t)strtoul(given, NULL, 10) : 8080;
    accept_all(listen_on(&port), false, serve);
}
