/* Any bytes as a trace or as strace's output: refused with one line, or a trace that survives writing and
 * reading, whose paths stay below a directory, and of which a plan can be made that can be carried out in its
 * order. */
#include "bench/replay_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_paths(const struct trace *trace)
{
    for (uint32_t i = 0; i < trace->path_count; i++) {
        const char *path = trace->paths[i];
        require(strlen(path) < TRACE_PATH_MAX && (path[0] == '/' || path[0] == 0));
        require(strstr(path, "/../") == NULL && strstr(path, "//") == NULL);
        require(strlen(path) < 3 || strcmp(path + strlen(path) - 3, "/..") != 0);
    }
}

static void check_round_trip(const struct trace *trace)
{
    char *text = NULL, error[256];
    size_t printed = 0;
    uint64_t ignored;
    struct trace again;
    FILE *out = open_memstream(&text, &printed);
    require(out != NULL && trace_write(trace, out) == 0);
    fclose(out);
    require(trace_parse(text, printed, &again, &ignored, error, sizeof(error)) == 0);
    require(again.event_count == trace->event_count);
    for (uint32_t i = 0; i < again.event_count; i++) {
        require(again.events[i].operation == trace->events[i].operation);
        require(again.events[i].time == trace->events[i].time);
        require(again.events[i].error == trace->events[i].error);
    }
    trace_free(&again);
    free(text);
}

static void check_plan(struct trace *trace)
{
    struct replay_plan plan;
    require(replay_plan_make(&plan, trace, NULL) == 0);
    check_paths(trace);
    uint32_t *done = calloc(trace->path_count + 1u, sizeof(*done));
    require(done != NULL);
    for (uint32_t i = 0; i < plan.step_count; i++) {
        const struct replay_step *step = &plan.steps[i];
        require(step->file == UINT32_MAX || step->file < plan.file_count);
        require(plan.processes[i] < plan.process_count);
        for (unsigned t = 0; t < step->ticket_count; t++)
            require(done[step->tickets[t].path] >= step->tickets[t].needs);
        for (unsigned t = 0; t < step->ticket_count; t++)
            done[step->tickets[t].path]++;
    }
    for (uint32_t i = 0; i < trace->path_count; i++)
        require(plan.prepared[i].kind < REPLAY_FILE || plan.parents[i] == UINT32_MAX ||
                trace->paths[plan.parents[i]][0] == 0 ||
                plan.prepared[plan.parents[i]].kind == REPLAY_DIRECTORY);
    free(done);
    replay_plan_free(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct trace trace;
    uint64_t ignored;
    char error[256];
    int status = trace_parse((const char *)bytes, length, &trace, &ignored, error, sizeof(error));
    if (status < 0) {
        require(status == -EINVAL && error[0] != 0 && strchr(error, '\n') == NULL);
        require(trace.event_count == 0);
        return 0;
    }
    check_paths(&trace);
    check_round_trip(&trace);
    check_plan(&trace);
    trace_free(&trace);
    return 0;
}
