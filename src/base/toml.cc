/* The only C++ of BenchFS: Debian ships no TOML parser for C, so toml++ (Mark Gillard,
 * https://marzer.github.io/tomlplusplus) is wrapped here. It is used without exceptions for syntax errors;
 * what the standard library throws (out of memory) is caught at the border, so no exception ever reaches C
 * code.
 *
 * toml++ keeps a table's keys sorted by name. Entries are visited in the order of their lines, so that the
 * first mistake in the file is the one that is reported. */
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/toml.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

namespace
{

struct item {
    std::string table;
    bool in_table;
    std::string key;
    const toml::node *node;
    unsigned line;
};

const char *kind_name(toml::node_type type)
{
    switch (type) {
    case toml::node_type::table:
        return "table";
    case toml::node_type::array:
        return "array";
    case toml::node_type::string:
        return "string";
    case toml::node_type::integer:
        return "integer";
    case toml::node_type::floating_point:
        return "floating-point number";
    case toml::node_type::boolean:
        return "boolean";
    case toml::node_type::date:
        return "date";
    case toml::node_type::time:
        return "time";
    case toml::node_type::date_time:
        return "date and time";
    default:
        return "unknown type";
    }
}

void collect(std::vector<item> &items, const toml::table &table, const std::string *name)
{
    for (auto &&[key, node] : table) {
        unsigned line = key.source().begin ? key.source().begin.line : node.source().begin.line;
        items.push_back(
            {name != nullptr ? *name : std::string(), name != nullptr, std::string(key.str()), &node, line});
        if (name == nullptr && node.is_table()) {
            std::string child(key.str());
            collect(items, *node.as_table(), &child);
        }
    }
}

int visit_item(const item &item, toml_visitor visit, void *owner)
{
    toml_entry entry = {};

    entry.table = item.in_table ? item.table.c_str() : nullptr;
    entry.key = item.key.c_str();
    entry.line = item.line;
    entry.kind_name = kind_name(item.node->type());
    entry.kind = TOML_OTHER;
    if (item.node->is_table()) {
        entry.kind = TOML_TABLE;
    } else if (const auto *string = item.node->as_string()) {
        entry.kind = TOML_STRING;
        entry.string = string->get().c_str();
        entry.string_length = string->get().size();
    } else if (const auto *integer = item.node->as_integer()) {
        entry.kind = TOML_INTEGER;
        entry.integer = integer->get();
    } else if (const auto *boolean = item.node->as_boolean()) {
        entry.kind = TOML_BOOLEAN;
        entry.boolean = boolean->get();
    }
    return visit(owner, &entry);
}

} // namespace

extern "C" int toml_parse(const char *text, size_t length, toml_visitor visit, void *owner, unsigned *line,
                          char *reason, size_t size)
try {
    toml::parse_result result = toml::parse(std::string_view(text, length));
    if (!result) {
        *line = result.error().source().begin.line;
        std::snprintf(reason, size, "%s", std::string(result.error().description()).c_str());
        return -EINVAL;
    }
    std::vector<item> items;
    collect(items, result.table(), nullptr);
    std::stable_sort(items.begin(), items.end(),
                     [](const item &first, const item &second) { return first.line < second.line; });
    for (const item &item : items) {
        int status = visit_item(item, visit, owner);
        if (status != 0)
            return status;
    }
    return 0;
} catch (...) {
    return -ENOMEM;
}
