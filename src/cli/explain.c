/* explain: why the results of a benchmark are what they are. */
#include <errno.h>
#include <getopt.h>

#include "bench/bench.h"
#include "bench/explain.h"
#include "bench/options.h"
#include "cli/cli.h"

enum { OPTION_LIMITS = 1, OPTION_PHASE, OPTION_TARGET, OPTION_JSON };

static int run_explain(int argc, char **argv)
{
    static const struct option options[] = {{"limits", required_argument, NULL, OPTION_LIMITS},
                                            {"phase", required_argument, NULL, OPTION_PHASE},
                                            {"target", required_argument, NULL, OPTION_TARGET},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            CLI_HELP,
                                            {0}};
    struct explain request = {0};
    int option, result = CLI_OK;
    while ((option = cli_option(argc, argv, ":", options, &result)) != -1) {
        if (option == '?')
            return result;
        if (option == OPTION_LIMITS)
            request.limits = optarg;
        else if (option == OPTION_PHASE)
            request.phase = optarg;
        else if (option == OPTION_TARGET)
            request.target = optarg;
        else
            request.json = true;
    }
    if (optind != argc - 1)
        return cli_usage(optind == argc ? "no file of results given" : "one file of results at a time");
    char error[1024];
    request.results = argv[optind];
    bench_error_name("calibrate");
    int status = explain(&request, error, sizeof(error));
    if (status < 0)
        cli_error("%s", error);
    return status == 0 ? CLI_OK : status == -EINVAL ? CLI_USAGE : CLI_FAILED;
}

const struct verb verb_explain = {
    .name = "explain",
    .usage = "[--limits FILE] [--phase NAME] [--target NAME] [--json] RESULTS",
    .help = "Say what limits the results of a benchmark",
    .text =
        "      --limits FILE  limits that \"benchfs bench calibrate --output FILE\" wrote; without it those "
        "among\n"
        "                     the results, or they are measured now, if this is the host of the results\n"
        "      --phase NAME   only results of this phase\n"
        "      --target NAME  only results on this target\n"
        "      --json         lines of JSON, which \"benchfs report\" reads when they follow the results\n\n"
        "RESULTS is a file that \"benchfs bench ... --output\" wrote. Each result gets a sentence that names "
        "the\n"
        "stage that takes most time, the resource behind it, how far that is from its measured limit, and "
        "the\n"
        "figures.\n",
    .run = run_explain,
};
