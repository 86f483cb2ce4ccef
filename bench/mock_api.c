/* A Lambda Runtime API that measures: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
 *
 * In C because a mock in Python adds tens of microseconds to what it measures, and more to some clients than to others.
 *
 *   mock_api [--port P] [--quickack] [--step] [--limit SECONDS] [--save PREFIX] [--deadline-ms MS] [--linger SECONDS]
 *            EVENT COUNT [EVENT COUNT ...]
 *
 * Each EVENT (a file) and COUNT is a phase: that event so many times. Then it prints one line of JSON and exits.
 * A latency is the time from before the event is sent until the answer is received whole; `first_byte` until the
 * answer's head is.
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

struct phase {
    const char *path;
    char *event;
    size_t size;
    uint32_t count, first; /* first: the number of its first invocation */
    uint32_t answered;
    size_t response_size; /* of the last one */
    uint64_t began, ended;
};

static struct phase phases[MAX_PHASES];
static int phase_count;
static uint32_t total; /* invocations of all phases */

/* By the number of the invocation; 0 in `answered_ns`: not answered yet. */
static uint64_t *sent_at, *answered_ns, *first_byte_ns;

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

/* Take the answer to an invocation, and reply to it. */
static bool take_response(struct connection *connection, const struct request *request, uint32_t number)
{
    uint64_t received_at = now_ns(CLOCK_MONOTONIC);
    if (number >= total || !sent_at[number] || answered_ns[number]) {
        fail("an answer to an invocation that is not open: %s", request->target);
        return answer(connection, "400 Bad Request", "", "{\"errorType\":\"InvalidRequestID\"}");
    }
    if (request->length > PAYLOAD_LIMIT && !field(request, "lambda-runtime-function-response-mode")) {
        fail("an answer of %zu bytes", request->length);
        return answer(connection, "413 Content Too Large", "", "{\"errorType\":\"RequestEntityTooLarge\"}");
    }
    answered_ns[number] = received_at - sent_at[number];
    first_byte_ns[number] = request->head_at - sent_at[number];
    /* Before the reply: what the client does next must not be taken for a part of the phase. */
    pthread_mutex_lock(&lock);
    struct phase *phase = &phases[current];
    if (save_prefix && number == phase->first)
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
    while (read_head(connection, &request) && read_body(connection, &request) && serve_request(connection, &request))
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
