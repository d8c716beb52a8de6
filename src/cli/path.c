/* Paths and modes as text. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <errno.h>

#include "cli/cli.h"

bool path_has_prefix(const char *argument)
{
    return strncmp(argument, CLI_PREFIX, strlen(CLI_PREFIX)) == 0;
}

const char *path_parse(const char *argument)
{
    const char *path = path_has_prefix(argument) ? argument + strlen(CLI_PREFIX) : argument;
    if (path[0] == '/')
        return path;
    cli_usage("path \"%s\" is not absolute: paths inside BenchFS begin with \"/\"", argument);
    return NULL;
}

int path_join(const char *directory, const char *name, char *path)
{
    size_t length = strlen(directory);
    const char *slash = length > 0 && directory[length - 1] == '/' ? "" : "/";
    int total = snprintf(path, CLI_PATH_SIZE, "%s%s%s", directory, slash, name);
    return total < 0 || (size_t)total >= CLI_PATH_SIZE ? -ENAMETOOLONG : 0;
}

size_t path_base(const char *path, const char **base)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (start == end)
        start = end - (end > 0);
    *base = path + start;
    return end - start;
}

static char type_letter(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return 'd';
    case S_IFLNK:
        return 'l';
    case S_IFREG:
        return '-';
    default:
        return '?';
    }
}

void mode_text(uint32_t mode, char text[11])
{
    static const char letters[] = "rwxrwxrwx";
    text[0] = type_letter(mode);
    for (int i = 0; i < 9; i++)
        text[1 + i] = (mode & (0400u >> i)) != 0 ? letters[i] : '-';
    if ((mode & S_ISUID) != 0)
        text[3] = text[3] == 'x' ? 's' : 'S';
    if ((mode & S_ISGID) != 0)
        text[6] = text[6] == 'x' ? 's' : 'S';
    if ((mode & S_ISVTX) != 0)
        text[9] = text[9] == 'x' ? 't' : 'T';
    text[10] = '\0';
}
