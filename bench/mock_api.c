/* A Lambda Runtime API that measures: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
 *
 * In C because a mock in Python adds tens of microseconds to what it measures, and more to some clients than to others.
 *
 *   mock_api [--port P] [--quickack] [--step] [--limit SECONDS] [--save PREFIX] [--deadline-ms MS] [--linger SECONDS]
 *            EVENT COUNT [EVENT COUNT ...]
 *
 * Each EVENT (a file) and COUNT is a phase: that event so many times. Then it prints one line of JSON and exits.
 * A latency is the time from before the event is sent until the answer is received whole; `first_byte` until the
 * answer's head is, or of a streamed one the first byte after the prelude. A streamed answer is received piece by piece
 * and not kept. If it is an event stream whose events are the times at which the app wrote them (fast_app's /stamps),
 * `event` is how old each was on its arrival.
 *
 *   --quickack     acknowledge at once; the default, as of most servers, is the kernel's delayed ACK
 *   --step         before each phase print "ready PHASE" once the client waits in next, then wait for a line on stdin:
 *                  so that the client can be looked at while nothing happens
 *   --limit        give up after so many seconds (default 600)
 *   --save         write the first answer of each phase to PREFIX.<phase>, to compare what two clients answered
 *   --deadline-ms  how far ahead deadlines lie (default 60000)
 *   --linger       keep next and the connections open for so long after the JSON is printed (default 0)
 *
 * Any number of pollers may ask for events; all of a phase are answered before the next one begins.
 * Exit status 1 (and "complete": false) when the time was over, an invocation was reported as failed, or the client did
 * what the platform would refuse. Nothing is measured then.
 */
#include "http.h"

#define MAX_PHASES 256
#define MAX_INVOCATIONS 20000000u
#define PAYLOAD_LIMIT 6291556u
#define MAX_EVENTS (1u << 20)
#define RESPONSE_TARGET "/2018-06-01/runtime/invocation/00000000-0000-4000-8000-%12u/response"

struct phase {
    const char *path;
    char *event;
    size_t size;
    uint32_t count, first; /* first: the number of its first invocation */
    uint32_t answered;
    uint32_t first_event, events; /* of `event_ns` */
    size_t response_size;         /* of the last one */
    uint64_t began, ended;
};

static struct phase phases[MAX_PHASES];
static int phase_count;
static uint32_t total; /* invocations of all phases */

/* By the number of the invocation; 0 in `answered_ns`: not answered yet. */
static uint64_t *sent_at, *answered_ns, *first_byte_ns;
/* By the order of arrival, of all phases. */
static uint64_t event_ns[MAX_EVENTS];
static uint32_t event_count;

static bool step;
static const char *save_prefix;
static uint64_t deadline_ns = 60000000000u;

/* Guards all that follows, and the phases' counters. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static uint32_t handed_out, answered;
static int current = -1; /* phase that events are handed out of */
static uint64_t first_next_at; /* CLOCK_REALTIME, to be compared with when the client was started */
static bool failed;

static __attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    pthread_mutex_lock(&lock);
    failed = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool answer(struct connection *connection, const char *status, const char *fields, const char *body)
{
    char head[512];
    int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
                        status, fields, strlen(body));
    return send_two(connection->descriptor, head, (size_t)size, body, strlen(body));
}

/* Begin the next phase, which the first request for one of its events does. With `lock` held. */
static void begin_phase(void)
{
    current++;
    if (step) {
        char line[16];
        printf("ready %d\n", current);
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin))
            _exit(1); /* whoever steps us is gone */
    }
    phases[current].first_event = event_count;
    phases[current].began = now_ns(CLOCK_MONOTONIC);
}

/* The number of the invocation to hand out now. Does not return when there is none any more, as with idle Lambda. */
static uint32_t take_number(void)
{
    pthread_mutex_lock(&lock);
    if (!first_next_at)
        first_next_at = now_ns(CLOCK_REALTIME);
    for (;;) {
        bool is_first = current + 1 < phase_count && handed_out == phases[current + 1].first;
        if (handed_out < total && (!is_first || answered == handed_out))
            break;
        pthread_cond_wait(&changed, &lock);
    }
    if (current + 1 < phase_count && handed_out == phases[current + 1].first)
        begin_phase();
    uint32_t number = handed_out++;
    pthread_mutex_unlock(&lock);
    return number;
}

static bool serve_next(struct connection *connection)
{
    uint32_t number = take_number();
    const struct phase *phase = &phases[current];
    char head[768];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        "Lambda-Runtime-Aws-Request-Id: 00000000-0000-4000-8000-%012u\r\n"
                        "Lambda-Runtime-Deadline-Ms: %llu\r\n"
                        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:bench\r\n"
                        "Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        number, (unsigned long long)((now_ns(CLOCK_REALTIME) + deadline_ns) / 1000000u), phase->size);
    sent_at[number] = now_ns(CLOCK_MONOTONIC);
    return send_two(connection->descriptor, head, (size_t)size, phase->event, phase->size);
}

static void save(int phase, const struct request *request)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%d", save_prefix, phase);
    FILE *file = fopen(path, "w");
    if (!file || fwrite(request->body, 1, request->length, file) != request->length || fclose(file))
        die("cannot write %s: %s", path, strerror(errno));
}

/* A streamed answer */

#define NULS_AFTER_PRELUDE 8

struct stream {
    uint64_t received_at;           /* of the latest bytes */
    uint64_t first_byte_at;         /* of the first one after the prelude; 0: none yet */
    size_t length, nuls;            /* bytes so far; NULs in a row, up to those that end the prelude */
    size_t prelude_size, line_size; /* of what follows */
    char prelude[4096], line[64];   /* of the prelude its beginning; of an event stream the line that has not ended */
    bool is_event_stream;
    FILE *copy;
};

/* The value of the field is "streaming", the only one that the platform knows. */
static bool is_streamed(const struct request *request)
{
    const char *mode = field(request, "lambda-runtime-function-response-mode");
    return mode && !strncasecmp(mode, "streaming\r", 10);
}

static void take_event_line(struct stream *stream)
{
    unsigned long long written_at;
    stream->line[stream->line_size] = '\0';
    if (sscanf(stream->line, "data: %llu", &written_at) != 1 || !written_at || written_at > stream->received_at)
        return;
    pthread_mutex_lock(&lock);
    if (event_count < MAX_EVENTS) {
        event_ns[event_count++] = stream->received_at - written_at;
        phases[current].events++;
    }
    pthread_mutex_unlock(&lock);
}

static void take_events(struct stream *stream, const char *data, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        if (data[at] == '\n') {
            take_event_line(stream);
            stream->line_size = 0;
        } else if (stream->line_size < sizeof stream->line - 1)
            stream->line[stream->line_size++] = data[at];
    }
}

static void take_piece(struct stream *stream, const char *data, size_t size)
{
    size_t at = 0;
    if (stream->copy && fwrite(data, 1, size, stream->copy) != size)
        die("cannot write what was streamed: %s", strerror(errno));
    stream->length += size;
    for (; at < size && stream->nuls < NULS_AFTER_PRELUDE; at++) {
        stream->nuls = data[at] ? 0 : stream->nuls + 1;
        if (stream->prelude_size < sizeof stream->prelude)
            stream->prelude[stream->prelude_size++] = data[at];
        if (stream->nuls == NULS_AFTER_PRELUDE)
            stream->is_event_stream = memmem(stream->prelude, stream->prelude_size, "text/event-stream", 17);
    }
    if (at == size)
        return;
    if (!stream->first_byte_at)
        stream->first_byte_at = stream->received_at;
    if (stream->is_event_stream)
        take_events(stream, data + at, size - at);
}

/* Receive more behind the head; of what is there the bytes from `*at` on are still needed. */
static bool receive_more(struct connection *connection, const struct request *request, size_t *at, struct stream *stream)
{
    size_t body = (size_t)(request->body - connection->buffer);
    memmove(request->body, connection->buffer + *at, connection->end - *at);
    connection->end -= *at - body;
    *at = body;
    if (!receive(connection, RECEIVE_SIZE, false))
        return false;
    stream->received_at = now_ns(CLOCK_MONOTONIC);
    return true;
}

/* Read the chunks of a streamed answer as they come. False when the client is gone, or it is malformed. */
static bool read_stream(struct connection *connection, struct request *request, struct stream *stream)
{
    enum { SIZE, DATA, END_OF_DATA, TRAILERS } expected = SIZE;
    size_t at = (size_t)(request->body - connection->buffer), left = 0;
    stream->received_at = request->head_at;
    for (;;) {
        if (expected == DATA && at < connection->end) {
            size_t here = connection->end - at < left ? connection->end - at : left;
            take_piece(stream, connection->buffer + at, here);
            at += here;
            left -= here;
            expected = left ? DATA : END_OF_DATA;
            continue;
        }
        char *line = connection->buffer + at, *digits_end;
        char *line_end = expected == DATA ? NULL : memmem(line, connection->end - at, "\r\n", 2);
        if (!line_end) {
            if (!receive_more(connection, request, &at, stream))
                return false;
            continue;
        }
        bool is_empty = line_end == line;
        at += (size_t)(line_end + 2 - line);
        if (expected == TRAILERS && is_empty) {
            request->length = stream->length;
            request->size = at;
            return true;
        }
        if (expected == TRAILERS)
            fail("a streamed answer ended with the trailer %.*s", (int)(line_end - line), line);
        else if (expected == END_OF_DATA) {
            if (!is_empty)
                return false;
            expected = SIZE;
        } else {
            left = strtoul(line, &digits_end, 16);
            if (digits_end == line)
                return false;
            expected = left ? DATA : TRAILERS;
        }
    }
}

/* Read the body of a streamed answer, and put into `head_at` when the client saw the first byte of it. */
static bool read_streamed(struct connection *connection, struct request *request)
{
    struct stream stream = {0};
    unsigned int number;
    char path[4096];
    if (save_prefix && sscanf(request->target, RESPONSE_TARGET, &number) == 1 && number == phases[current].first) {
        snprintf(path, sizeof path, "%s.%d", save_prefix, current);
        if (!(stream.copy = fopen(path, "w")))
            die("cannot write %s: %s", path, strerror(errno));
    }
    bool is_whole = read_stream(connection, request, &stream);
    if (stream.copy && fclose(stream.copy))
        die("cannot write %s: %s", path, strerror(errno));
    request->head_at = stream.first_byte_at ? stream.first_byte_at : stream.received_at;
    if (!is_whole)
        fail("a streamed answer ended after %zu bytes without its last chunk", stream.length);
    return is_whole;
}

/* Take the answer to an invocation, and reply to it. */
static bool take_response(struct connection *connection, const struct request *request, uint32_t number)
{
    uint64_t received_at = now_ns(CLOCK_MONOTONIC);
    bool streamed = is_streamed(request);
    if (number >= total || !sent_at[number] || answered_ns[number]) {
        fail("an answer to an invocation that is not open: %s", request->target);
        return answer(connection, "400 Bad Request", "", "{\"errorType\":\"InvalidRequestID\"}");
    }
    if (request->length > PAYLOAD_LIMIT && !streamed) {
        fail("an answer of %zu bytes", request->length);
        return answer(connection, "413 Content Too Large", "", "{\"errorType\":\"RequestEntityTooLarge\"}");
    }
    answered_ns[number] = received_at - sent_at[number];
    first_byte_ns[number] = request->head_at - sent_at[number];
    /* Before the reply: what the client does next must not be taken for a part of the phase. */
    pthread_mutex_lock(&lock);
    struct phase *phase = &phases[current];
    if (save_prefix && number == phase->first && !streamed)
        save(current, request);
    phase->answered++;
    phase->response_size = request->length;
    phase->ended = received_at;
    answered++;
    if (phase->answered == phase->count) /* not for each answer: a thread that wakes up takes time from the client */
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return answer(connection, "202 Accepted", "", "{\"status\":\"OK\"}\n");
}

static bool serve_invocation(struct connection *connection, const struct request *request, const char *rest)
{
    unsigned int number;
    char kind[16];
    if (!strcmp(request->method, "GET") && !strcmp(rest, "next"))
        return serve_next(connection);
    if (sscanf(rest, "00000000-0000-4000-8000-%12u/%15s", &number, kind) == 2 && !strcmp(request->method, "POST")) {
        if (!strcmp(kind, "response"))
            return take_response(connection, request, number);
        if (!strcmp(kind, "error")) {
            fail("an invocation was reported as failed: %.*s", (int)request->length, request->body);
            return answer(connection, "202 Accepted", "", "{\"status\":\"OK\"}\n");
        }
    }
    fail("%s %s is not known", request->method, request->target);
    return answer(connection, "404 Not Found", "", "{\"errorType\":\"NotFound\"}");
}

/* Wait until the client closes; its request is never answered. */
static bool hold(struct connection *connection)
{
    while (receive(connection, 1, false))
        ;
    return false;
}

static bool serve_request(struct connection *connection, const struct request *request)
{
    static const char invocation[] = "/2018-06-01/runtime/invocation/";
    if (!strncmp(request->target, invocation, sizeof invocation - 1))
        return serve_invocation(connection, request, request->target + sizeof invocation - 1);
    if (!strcmp(request->target, "/2020-01-01/extension/register"))
        return answer(connection, "200 OK", "Lambda-Extension-Identifier: 5a1c3d2e-0000-4000-8000-000000000001\r\n",
                      "{\"functionName\":\"bench\",\"functionVersion\":\"$LATEST\",\"handler\":\"\"}");
    if (!strcmp(request->target, "/2020-01-01/extension/event/next"))
        return hold(connection);
    fail("%s %s: %.*s", request->method, request->target, (int)request->length, request->body); /* init/error too */
    return answer(connection, "202 Accepted", "", "{\"status\":\"OK\"}\n");
}

static void *serve(void *argument)
{
    struct connection *connection = argument;
    struct request request;
    while (read_head(connection, &request) &&
           (is_streamed(&request) ? read_streamed : read_body)(connection, &request) &&
           serve_request(connection, &request))
        drop_request(connection, &request);
    close_connection(connection);
    return NULL;
}

/* What it came to */

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Sorts `values`. Percentiles are by nearest rank. */
static void print_times(const char *name, uint64_t *values, uint32_t count)
{
    static const struct { const char *name; double part; } percentiles[] = {
        {"p10", .1}, {"p50", .5}, {"p90", .9}, {"p99", .99}};
    double sum = 0;
    qsort(values, count, sizeof *values, compare);
    for (uint32_t at = 0; at < count; at++)
        sum += (double)values[at];
    printf("\"%s\":{\"min\":%llu", name, (unsigned long long)values[0]);
    for (size_t at = 0; at < sizeof percentiles / sizeof *percentiles; at++) {
        uint32_t rank = (uint32_t)(percentiles[at].part * count + .999999);
        printf(",\"%s\":%llu", percentiles[at].name, (unsigned long long)values[rank ? rank - 1 : 0]);
    }
    printf(",\"max\":%llu,\"mean\":%.0f}", (unsigned long long)values[count - 1], sum / count);
}

static void print_phase(const struct phase *phase, bool complete)
{
    printf("{\"event\":\"");
    for (const char *at = phase->path; *at; at++)
        printf(*at == '"' || *at == '\\' ? "\\%c" : "%c", *at);
    printf("\",\"event_bytes\":%zu,\"count\":%u,\"answered\":%u,\"response_bytes\":%zu,\"seconds\":%.6f", phase->size,
           phase->count, phase->answered, phase->response_size, (double)(phase->ended - phase->began) / 1e9);
    if (complete) {
        printf(",");
        print_times("latency_ns", answered_ns + phase->first, phase->count);
        printf(",");
        print_times("first_byte_ns", first_byte_ns + phase->first, phase->count);
        if (phase->events) {
            printf(",\"events\":%u,", phase->events);
            print_times("event_ns", event_ns + phase->first_event, phase->events);
        }
    }
    printf("}");
}

static void print_result(bool complete)
{
    printf("{\"complete\":%s,\"first_next_at_ns\":%llu,\"phases\":[", complete ? "true" : "false",
           (unsigned long long)first_next_at);
    for (int at = 0; at < phase_count; at++) {
        printf(at ? "," : "");
        print_phase(&phases[at], complete);
    }
    printf("]}\n");
    fflush(stdout);
}

/* How it begins */

static void load(struct phase *phase, const char *path, const char *count)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die("cannot read %s: %s", path, strerror(errno));
    char *event = malloc(PAYLOAD_LIMIT + 1);
    size_t size = event ? fread(event, 1, PAYLOAD_LIMIT + 1, file) : 0;
    fclose(file);
    if (!size || size > PAYLOAD_LIMIT)
        die("%s is empty, or larger than the %u bytes that an event may have", path, PAYLOAD_LIMIT);
    unsigned long number = strtoul(count, NULL, 10);
    if (!number || number > MAX_INVOCATIONS - total)
        die("%s is not a number of invocations (from 1 to %u in all)", count, MAX_INVOCATIONS);
    event = realloc(event, size);
    *phase = (struct phase){.path = path, .event = event, .size = size, .count = (uint32_t)number, .first = total};
    total += (uint32_t)number;
}

static void *times(void)
{
    void *memory = calloc(total, sizeof(uint64_t));
    if (!memory)
        die("out of memory");
    memset(memory, 0, total * sizeof(uint64_t)); /* so that no page is touched for the first time while measuring */
    return memory;
}

static void *accept_connections(void *argument)
{
    const int *arguments = argument;
    accept_all(arguments[0], arguments[1], serve);
}

int main(int count, char **arguments)
{
    uint16_t port = 0;
    long limit = 600, linger = 0;
    bool quick_ack = false;
    int at = 1;
    for (; at < count && !strncmp(arguments[at], "--", 2); at++) {
        const char *name = arguments[at];
        if (!strcmp(name, "--quickack") || !strcmp(name, "--step")) {
            *(name[2] == 'q' ? &quick_ack : &step) = true;
            continue;
        }
        const char *value = ++at < count ? arguments[at] : "";
        if (!strcmp(name, "--port"))
            port = (uint16_t)strtoul(value, NULL, 10);
        else if (!strcmp(name, "--limit"))
            limit = strtol(value, NULL, 10);
        else if (!strcmp(name, "--linger"))
            linger = strtol(value, NULL, 10);
        else if (!strcmp(name, "--deadline-ms"))
            deadline_ns = strtoul(value, NULL, 10) * 1000000u;
        else if (!strcmp(name, "--save"))
            save_prefix = value;
        else
            die("%s is not an option", name);
    }
    if (at == count || (count - at) % 2 || (count - at) / 2 > MAX_PHASES)
        die("usage: mock_api [OPTION...] EVENT COUNT [EVENT COUNT ...]   (at most %d pairs; see mock_api.c)", MAX_PHASES);
    for (; at < count; at += 2)
        load(&phases[phase_count++], arguments[at], arguments[at + 1]);
    sent_at = times();
    answered_ns = times();
    first_byte_ns = times();

    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &monotonic);
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += limit;

    int accepting[2] = {listen_on(&port), quick_ack};
    printf("listening %u\n", port);
    fflush(stdout);
    pthread_t thread;
    if (pthread_create(&thread, NULL, accept_connections, accepting))
        die("cannot start a thread");

    alarm((unsigned)(limit + linger) + 60); /* should whoever steps us fall asleep */
    pthread_mutex_lock(&lock);
    int timed_out = 0;
    while (answered < total && !failed && !timed_out)
        timed_out = pthread_cond_timedwait(&changed, &lock, &end);
    bool complete = answered == total && !failed;
    pthread_mutex_unlock(&lock); /* the reply to the last answer is still to be sent, and goes out meanwhile */
    if (timed_out)
        fprintf(stderr, "%ld seconds are over: %u of %u invocations were answered\n", limit, answered, total);
    print_result(complete);
    sleep((unsigned)linger);
    return complete ? 0 : 1;
}
