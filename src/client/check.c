/* The check: three walks, a judgement, and the looking again.
 *
 *   1. All inodes go into a table, 24 bytes each.
 *   2. All names are looked up in it: counted, and of directories compared with what ".." says.
 *   3. All chunks are looked up in it: is there such an inode, and is its size that large?
 *   4. The table is looked through: does every inode have as many names as it says, does every directory lead
 *      to the root?
 *
 * On a file system in use these walks show different moments, so much may look odd that is right. What does
 * is looked at again, in one of two ways.
 *
 * What can be seen by asking a server or two - a name without inode, chunks without inode, sizes - is asked
 * directly; if it is still so, the check waits until everything has ended that was under way on any server
 * (check_settle), and asks once more. Inode numbers are never used again and the removal of an inode goes on
 * to its name and chunks, so what is still without an inode then will stay so. Chunks beyond the size count
 * only in files that nobody holds open, because a write has more than one request.
 *
 * How many names an inode has can only be seen by walking over all of them. Such suspects are asked for in a
 * round: ask their inodes; settle; walk over all names, picking those that lead to suspects; settle; ask the
 * inodes again. Every change of an inode's names also changes its change time: a link and an unlink before
 * the name changes, a rename after. So if inode and change time are the same at both ends of the round, no
 * change touched any of its names in between: what began before the round had ended before the walk, and what
 * began later would show at the end of the round, or has not reached a name yet. Suspects that were touched
 * get two more rounds, and then count as undecided. */
#include "client/checking.h"

#include "base/log.h"

#define ROUNDS 3u
#define REPAIRS 3u
#define SUSPECTS_MAX 65536u /* in one round */
#define LOOKS_MAX 4096u     /* looked at again at a time */

enum { SUSPECT = 1, CHUNKED = 2, BEYOND = 4, HELD = 8, CYCLIC = 16 };
enum { FRESH, ON_THE_WAY, DONE };

/* An inode in the table. */
struct known {
    uint64_t number;
    uint64_t value; /* directories: the parent; others: the size */
    uint16_t links;
    uint16_t names;
    uint8_t type; /* S_IFMT >> 12 */
    uint8_t shift;
    uint8_t flags;
    uint8_t way; /* directories: FRESH ... */
};
static_assert(sizeof(struct known) == 24, "what check.h says");

struct table {
    struct known *known; /* ascending by number */
    size_t count;
    size_t room;
};

struct check {
    struct client *client;
    const struct check_options *options;
    struct check_result *result;
    const char *walk;
    uint64_t records;
    struct table *tables; /* by server */
    size_t *first;        /* by partition: in its server's table */
    size_t *count;
    struct findings looks; /* to be looked at again */
    struct findings sure;
};

static void advance(struct check *check, uint64_t records)
{
    check->records += records;
    if (check->options->progress != NULL)
        check->options->progress(check->options->owner, check->walk, check->records);
}

/* ---- findings ---- */

int findings_add(struct findings *findings, const struct check_finding *finding)
{
    if (findings->count == findings->room) {
        size_t room = findings->room == 0 ? 16 : 2 * findings->room;
        struct check_finding *list = reallocarray(findings->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        findings->list = list;
        findings->room = room;
    }
    findings->list[findings->count++] = *finding;
    return 0;
}

void findings_free(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free(findings->list[i].path);
    free(findings->list);
    *findings = (struct findings){0};
}

static void finding_name(struct check_finding *finding, const struct check_name *name)
{
    finding->directory = name->directory;
    finding->hash = name->hash;
    finding->type = name->type;
    finding->name_length = name->name_length;
    memcpy(finding->name, name->name, name->name_length);
    finding->name[name->name_length] = '\0';
}

/* ---- looking at one thing ---- */

/* Where the chunks end, as far as they have bytes. */
static uint64_t chunks_end(const struct check_chunks *chunks, unsigned shift)
{
    if (chunks->last_length == 0)
        return 0;
    return chunks->last > (uint64_t)INT64_MAX >> shift ? UINT64_MAX
                                                       : (chunks->last << shift) + chunks->last_length;
}

static int look_at_name(struct check *check, const struct check_finding *finding, uint64_t *inode,
                        uint32_t *type)
{
    int there = check_ask_name(check->client, finding->server, finding->directory, finding->hash,
                               finding->name, finding->name_length, inode, type);
    return there == 1 && *inode != finding->inode ? 0 : there;
}

static int look_at_chunks(struct check *check, struct check_finding *finding, const struct check_inode *inode)
{
    struct check_chunks chunks;
    int there = check_ask_chunks(check->client, finding->server, finding->inode, &chunks);
    if (there != 1)
        return there;
    if (finding->kind == CHECK_ORPHAN_CHUNKS) {
        finding->found = chunks.chunks;
        return 1;
    }
    if ((inode->flags & (CHECK_BEYOND | CHECK_HELD | CHECK_BUSY)) != 0 || !S_ISREG(inode->mode) ||
        inode->links == 0)
        return 0;
    finding->expected = inode->size;
    finding->found = chunks_end(&chunks, inode->layout.chunk_shift);
    return finding->found > (inode->flags & CHECK_CHUNKED ? inode->size : 0);
}

/* 1: it is as the finding says, 0: it is not (any more); or a status. */
static int look(struct check *check, struct check_finding *finding)
{
    struct check_inode inode = {0};
    uint64_t leads_to;
    uint32_t type;
    int there = check_ask_inode(check->client, finding->inode, &inode);
    if (there < 0)
        return there;
    finding->mode = there ? inode.mode : 0;
    finding->change_time = inode.change_time;
    switch (finding->kind) {
    case CHECK_DANGLING:
        return there ? 0 : look_at_name(check, finding, &leads_to, &type);
    case CHECK_TYPE:
        if (!there)
            return 0;
        there = look_at_name(check, finding, &leads_to, &type);
        finding->found = type;
        finding->expected = inode.mode & S_IFMT;
        return there == 1 ? type != finding->expected : there;
    case CHECK_PLACE:
        return look_at_name(check, finding, &leads_to, &type);
    case CHECK_NO_DIRECTORY:
        if (there && S_ISDIR(inode.mode))
            return 0;
        return check_ask_name(check->client, finding->server, finding->inode, 0, NULL, 0, &leads_to, &type);
    case CHECK_SIZE:
        finding->found = inode.size;
        finding->expected = inode.inline_length;
        return there && (inode.flags & (CHECK_CHUNKED | CHECK_BUSY)) == 0 &&
               inode.size != inode.inline_length;
    case CHECK_BYTES_BEYOND:
        return there ? look_at_chunks(check, finding, &inode) : 0;
    case CHECK_ORPHAN_CHUNKS:
        return there ? 0 : look_at_chunks(check, finding, NULL);
    default:
        return 0;
    }
}

/* Drops those of the looks that are not so. */
static int look_at_all(struct check *check)
{
    struct findings *looks = &check->looks;
    size_t kept = 0;
    for (size_t i = 0; i < looks->count; i++) {
        int so = look(check, &looks->list[i]);
        if (so < 0)
            return so;
        if (so == 1)
            looks->list[kept++] = looks->list[i];
    }
    looks->count = kept;
    return 0;
}

static bool is_known(const struct findings *findings, const struct check_finding *finding)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->list[i].kind == finding->kind && findings->list[i].inode == finding->inode)
            return true;
    return false;
}

/* Twice, with everything that is under way in between. What remains is sure. */
static int look_again(struct check *check)
{
    int status = look_at_all(check);
    if (status == 0 && check->looks.count > 0)
        status = check_settle(check->client);
    if (status == 0 && check->looks.count > 0)
        status = look_at_all(check);
    for (size_t i = 0; status == 0 && i < check->looks.count; i++) {
        const struct check_finding *finding = &check->looks.list[i];
        /* Every server has some of a directory's names, and of a file's chunks: one finding for all. */
        bool once = finding->kind == CHECK_NO_DIRECTORY || finding->kind == CHECK_BYTES_BEYOND;
        if (!once || !is_known(&check->sure, finding))
            status = findings_add(&check->sure, finding);
    }
    check->looks.count = 0;
    return status;
}

static int suspect_look(struct check *check, const struct check_finding *finding)
{
    int status = findings_add(&check->looks, finding);
    return status == 0 && check->looks.count >= LOOKS_MAX ? look_again(check) : status;
}

/* ---- the table ---- */

static struct known *table_find(const struct check *check, uint64_t number)
{
    if (!inode_valid(number))
        return NULL;
    uint32_t partition = inode_partition(number);
    struct known *known = check->tables[check->client->map->owner[partition]].known + check->first[partition];
    size_t low = 0, high = check->count[partition];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (known[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < check->count[partition] && known[low].number == number ? &known[low] : NULL;
}

static int table_add(struct check *check, uint32_t server, const struct check_inode *inode)
{
    struct table *table = &check->tables[server];
    if (!check_inode_valid(inode) || client_inode_server(check->client, inode->inode) != server ||
        (table->count > 0 && table->known[table->count - 1].number >= inode->inode))
        return -EPROTO;
    if (table->count == table->room) {
        /* Memory that is not touched yet costs nothing. */
        size_t room = table->room == 0 ? 4096 : 2 * table->room;
        struct known *known = reallocarray(table->known, room, sizeof(*known));
        if (known == NULL)
            return -ENOMEM;
        table->known = known;
        table->room = room;
    }
    uint32_t partition = inode_partition(inode->inode);
    if (check->count[partition]++ == 0)
        check->first[partition] = table->count;
    table->known[table->count++] = (struct known){
        .number = inode->inode,
        .value = S_ISDIR(inode->mode) ? inode->parent : inode->size,
        .links = (uint16_t)(inode->links < UINT16_MAX ? inode->links : UINT16_MAX),
        .type = (uint8_t)(inode->mode >> 12),
        .shift = inode->layout.chunk_shift,
        .flags = (uint8_t)(((inode->flags & CHECK_CHUNKED) != 0 ? CHUNKED : 0) |
                           ((inode->flags & CHECK_BEYOND) != 0 ? BEYOND : 0) |
                           ((inode->flags & CHECK_HELD) != 0 ? HELD : 0)),
    };
    return 0;
}

static bool is_directory_type(const struct known *known)
{
    return known->type == S_IFDIR >> 12;
}

/* ---- the walks ---- */

static int visit_inodes(void *owner, const struct check_page *page)
{
    struct check *check = owner;
    const struct check_inode *inodes = (const void *)page->bytes;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < page->entries; i++) {
        const struct check_inode *inode = &inodes[i];
        status = table_add(check, page->server, inode);
        bool has_inline =
            S_ISLNK(inode->mode) || (S_ISREG(inode->mode) && (inode->flags & CHECK_CHUNKED) == 0);
        if (status == 0 && has_inline && inode->size != inode->inline_length)
            status = suspect_look(
                check,
                &(struct check_finding){.kind = CHECK_SIZE, .server = page->server, .inode = inode->inode});
    }
    check->result->inodes += page->entries;
    advance(check, page->entries);
    return status;
}

/* What the name says that can be seen from itself and the table. */
static int judge_name(struct check *check, uint32_t server, const struct check_name *name)
{
    const struct known *directory = table_find(check, name->directory);
    struct known *known = table_find(check, name->inode);
    struct check_finding finding = {.server = server, .inode = name->inode};
    finding_name(&finding, name);
    int status = 0;
    if (directory == NULL || !is_directory_type(directory)) {
        /* One look a directory and page: names of one follow one another. */
        const struct findings *looks = &check->looks;
        const struct check_finding *last = looks->count > 0 ? &looks->list[looks->count - 1] : NULL;
        struct check_finding missing = {
            .kind = CHECK_NO_DIRECTORY, .server = server, .inode = name->directory};
        if (last == NULL || last->kind != missing.kind || last->inode != missing.inode)
            status = suspect_look(check, &missing);
    }
    uint64_t hash = dentry_hash(name->directory, name->name, name->name_length);
    if (status == 0 && known != NULL &&
        (name->hash != hash || client_hash_server(check->client, hash) != server)) {
        finding.kind = CHECK_PLACE;
        finding.found = name->hash;
        finding.expected = hash;
        status = suspect_look(check, &finding);
    }
    if (status != 0)
        return status;
    if (known == NULL) {
        finding.kind = CHECK_DANGLING;
        return suspect_look(check, &finding);
    }
    if (known->names < UINT16_MAX)
        known->names++;
    if (is_directory_type(known) && known->value != name->directory)
        known->flags |= SUSPECT;
    if (name->type == (uint32_t)known->type << 12)
        return 0;
    finding.kind = CHECK_TYPE;
    return suspect_look(check, &finding);
}

static int visit_names(void *owner, const struct check_page *page)
{
    struct check *check = owner;
    size_t offset = 0;
    int status = 0;
    for (const struct check_name *name; status == 0 && (name = check_next_name(page, &offset)) != NULL;)
        status = judge_name(check, page->server, name);
    check->result->names += page->entries;
    advance(check, page->entries);
    return status == 0 && offset != page->length ? -EPROTO : status;
}

static int visit_chunks(void *owner, const struct check_page *page)
{
    struct check *check = owner;
    const struct check_chunks *chunks = (const void *)page->bytes;
    uint64_t met = 0;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < page->entries; i++) {
        met += chunks[i].chunks;
        const struct known *known = table_find(check, chunks[i].inode);
        struct check_finding finding = {
            .kind = CHECK_ORPHAN_CHUNKS, .server = page->server, .inode = chunks[i].inode};
        if (known != NULL) {
            finding.kind = CHECK_BYTES_BEYOND;
            uint64_t size = (known->flags & CHUNKED) != 0 ? known->value : 0;
            if (known->type != S_IFREG >> 12 || (known->flags & BEYOND) != 0 ||
                chunks_end(&chunks[i], known->shift) <= size)
                continue;
        }
        /* A page may end within a file. */
        const struct findings *looks = &check->looks;
        const struct check_finding *last = looks->count > 0 ? &looks->list[looks->count - 1] : NULL;
        if (last == NULL || last->kind != finding.kind || last->inode != finding.inode ||
            last->server != finding.server)
            status = suspect_look(check, &finding);
    }
    check->result->chunks += met;
    advance(check, met);
    return status;
}

static int walk(struct check *check, enum check_walk which)
{
    static const struct {
        const char *name;
        int (*visit)(void *owner, const struct check_page *page);
    } walks[WALKS] = {{"inodes", visit_inodes}, {"names", visit_names}, {"chunks", visit_chunks}};
    check->walk = walks[which].name;
    check->records = 0;
    int status = check_walk_all(check->client, which, walks[which].visit, check);
    return status == 0 ? look_again(check) : status;
}

/* ---- suspects ---- */

/* An inode whose names are in doubt, in one round. */
struct suspect {
    uint64_t number;
    struct check_inode inode; /* at the round's beginning */
    uint32_t names;
    size_t first; /* of its names in round.names; SIZE_MAX: none */
    bool steady;  /* was not touched during the round */
    bool cyclic;
};

struct round {
    struct check *check;
    struct suspect *suspects; /* ascending by number */
    size_t count;
    struct findings names; /* of directories all, of others one; `found`: index of the next one of the same */
};

static int order_suspects(const void *first, const void *second)
{
    uint64_t a = ((const struct suspect *)first)->number, b = ((const struct suspect *)second)->number;
    return a < b ? -1 : a > b;
}

static struct suspect *suspect_find(const struct round *round, uint64_t number)
{
    struct suspect key = {.number = number};
    return bsearch(&key, round->suspects, round->count, sizeof(key), order_suspects);
}

/* Asks for all of them and keeps those that are there. again: marks those that are as they were. */
static int ask_suspects(struct round *round, bool again)
{
    size_t kept = 0;
    for (size_t i = 0; i < round->count; i++) {
        struct suspect *suspect = &round->suspects[i];
        struct check_inode now;
        int there = check_ask_inode(round->check->client, suspect->number, &now);
        if (there < 0)
            return there;
        if (again)
            suspect->steady = there && now.change_time == suspect->inode.change_time &&
                              now.links == suspect->inode.links && now.parent == suspect->inode.parent;
        else
            suspect->inode = now;
        if (there)
            round->suspects[kept++] = *suspect;
    }
    round->count = kept;
    return 0;
}

static int pick_names(void *owner, const struct check_page *page)
{
    struct round *round = owner;
    size_t offset = 0;
    int status = 0;
    for (const struct check_name *name; status == 0 && (name = check_next_name(page, &offset)) != NULL;) {
        struct suspect *suspect = suspect_find(round, name->inode);
        if (suspect == NULL)
            continue;
        suspect->names++;
        if (suspect->first != SIZE_MAX && !S_ISDIR(suspect->inode.mode))
            continue;
        struct check_finding picked = {.server = page->server, .inode = name->inode, .found = suspect->first};
        finding_name(&picked, name);
        suspect->first = round->names.count;
        status = findings_add(&round->names, &picked);
    }
    advance(round->check, page->entries);
    return status == 0 && offset != page->length ? -EPROTO : status;
}

static const struct check_finding *name_of(const struct round *round, size_t index)
{
    return index == SIZE_MAX ? NULL : &round->names.list[index];
}

static int judge(struct round *round, const struct suspect *suspect, enum check_kind kind,
                 const struct check_finding *name, uint64_t found, uint64_t expected)
{
    struct check_finding finding = {0};
    if (name != NULL)
        finding = *name;
    else
        finding.server = client_inode_server(round->check->client, suspect->number);
    finding.kind = kind;
    finding.inode = suspect->number;
    finding.mode = suspect->inode.mode;
    finding.change_time = suspect->inode.change_time;
    finding.found = found;
    finding.expected = expected;
    return findings_add(&round->check->sure, &finding);
}

/* All names of a directory but one: that where its parent says, else the first that was met. */
static int judge_several(struct round *round, const struct suspect *suspect)
{
    size_t kept = suspect->first;
    for (size_t i = suspect->first; i != SIZE_MAX; i = (size_t)round->names.list[i].found)
        if (round->names.list[i].directory == suspect->inode.parent)
            kept = i;
    int status = 0;
    for (size_t i = suspect->first; status == 0 && i != SIZE_MAX; i = (size_t)round->names.list[i].found)
        if (i != kept)
            status = judge(round, suspect, CHECK_SEVERAL_NAMES, name_of(round, i), suspect->names, 1);
    return status;
}

/* Whether its parents lead back to it, all of them steady. It is told at the least of the circle. */
static bool begins_cycle(const struct round *round, const struct suspect *suspect)
{
    const struct suspect *at = suspect;
    for (size_t steps = 0; steps <= round->count; steps++) {
        if (at == NULL || !at->cyclic || !at->steady || at->names != 1 || at->number < suspect->number)
            return false;
        uint64_t parent = round->names.list[at->first].directory;
        if (parent != at->inode.parent)
            return false;
        if (parent == suspect->number)
            return true;
        at = suspect_find(round, parent);
    }
    return false;
}

static int judge_directory(struct round *round, const struct suspect *suspect)
{
    const struct check_finding *name = name_of(round, suspect->first);
    bool root = suspect->number == INODE_ROOT;
    int status = 0;
    if (suspect->names == 0 && !root)
        return suspect->inode.links == 0 ? 0 : judge(round, suspect, CHECK_UNREACHABLE, NULL, 0, 1);
    if (suspect->names > 1)
        return judge_several(round, suspect);
    if (name != NULL && name->directory != suspect->inode.parent)
        status = judge(round, suspect, CHECK_PARENT, name, suspect->inode.parent, name->directory);
    else if (begins_cycle(round, suspect))
        status = judge(round, suspect, CHECK_CYCLE, name, 0, 0);
    if (status == 0 && suspect->inode.links != 2)
        status = judge(round, suspect, CHECK_LINKS, name, suspect->inode.links, 2);
    return status;
}

static int judge_suspect(struct round *round, const struct suspect *suspect)
{
    const struct check_inode *inode = &suspect->inode;
    if (S_ISDIR(inode->mode))
        return judge_directory(round, suspect);
    if (suspect->names == inode->links)
        return 0;
    if (suspect->names == 0) /* who has it open may still do something about it */
        return (inode->flags & CHECK_HELD) != 0 ? 0 : judge(round, suspect, CHECK_UNREACHABLE, NULL, 0, 1);
    return judge(round, suspect, CHECK_LINKS, name_of(round, suspect->first), inode->links, suspect->names);
}

/* One round. Leaves those that were touched. */
static int play(struct round *round)
{
    struct check *check = round->check;
    for (size_t i = 0; i < round->count; i++) {
        round->suspects[i].names = 0;
        round->suspects[i].first = SIZE_MAX;
    }
    int status = ask_suspects(round, false);
    if (status == 0)
        status = check_settle(check->client);
    check->walk = "suspects";
    check->records = 0;
    if (status == 0)
        status = check_walk_all(check->client, WALK_NAMES, pick_names, round);
    if (status == 0)
        status = check_settle(check->client);
    if (status == 0)
        status = ask_suspects(round, true);
    size_t touched = 0;
    for (size_t i = 0; status == 0 && i < round->count; i++)
        if (round->suspects[i].steady)
            status = judge_suspect(round, &round->suspects[i]);
    for (size_t i = 0; status == 0 && i < round->count; i++)
        if (!round->suspects[i].steady)
            round->suspects[touched++] = round->suspects[i];
    round->count = touched;
    findings_free(&round->names);
    return status;
}

/* As many rounds as it takes. suspects is used up. */
static int question(struct check *check, struct suspect *suspects, size_t count)
{
    struct round round = {.check = check, .suspects = suspects, .count = count};
    qsort(suspects, count, sizeof(*suspects), order_suspects);
    int status = 0;
    for (unsigned i = 0; status == 0 && i < ROUNDS && round.count > 0; i++)
        status = play(&round);
    check->result->undecided += round.count;
    return status;
}

/* ---- the judgement ---- */

/* Up from a directory until it is known where that leads. A circle's members become suspects. */
static void follow(struct check *check, struct known *from)
{
    struct known *at = from;
    while (at != NULL && is_directory_type(at) && at->way == FRESH && at->number != INODE_ROOT) {
        at->way = ON_THE_WAY;
        at = table_find(check, at->value);
    }
    if (at != NULL && is_directory_type(at) && at->way == ON_THE_WAY)
        for (; (at->flags & CYCLIC) == 0; at = table_find(check, at->value))
            at->flags |= CYCLIC;
    for (at = from; at != NULL && is_directory_type(at) && at->way == ON_THE_WAY;
         at = table_find(check, at->value))
        at->way = DONE;
}

static bool is_suspect(const struct known *known)
{
    if ((known->flags & (SUSPECT | CYCLIC)) != 0)
        return true;
    if (is_directory_type(known))
        return known->links != 2 || known->names != (known->number == INODE_ROOT ? 0 : 1);
    if (known->names == 0 && (known->flags & HELD) != 0)
        return false;
    return known->names != known->links;
}

static int question_all(struct check *check)
{
    uint32_t servers = check->client->map->server_count;
    struct suspect *suspects = malloc(SUSPECTS_MAX * sizeof(*suspects));
    size_t count = 0;
    int status = suspects == NULL ? -ENOMEM : 0;
    for (uint32_t server = 0; server < servers; server++)
        for (size_t i = 0; i < check->tables[server].count; i++)
            if (is_directory_type(&check->tables[server].known[i]))
                follow(check, &check->tables[server].known[i]);
    /* Those of circles first, so that a circle is in one round. */
    for (unsigned cyclic = 2; status == 0 && cyclic-- > 0;) {
        for (uint32_t server = 0; server < servers; server++) {
            for (size_t i = 0; status == 0 && i < check->tables[server].count; i++) {
                const struct known *known = &check->tables[server].known[i];
                if (!is_suspect(known) || ((known->flags & CYCLIC) != 0) != (cyclic == 1))
                    continue;
                suspects[count++] = (struct suspect){.number = known->number, .cyclic = cyclic == 1};
                if (count == SUSPECTS_MAX) {
                    status = question(check, suspects, count);
                    count = 0;
                }
            }
        }
    }
    if (status == 0 && count > 0)
        status = question(check, suspects, count);
    free(suspects);
    return status;
}

/* ---- all of it ---- */

static int order_findings(const void *first, const void *second)
{
    const struct check_finding *a = first, *b = second;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->inode < b->inode ? -1 : a->inode > b->inode;
}

static int find_paths(struct check *check)
{
    struct findings *sure = &check->sure;
    struct check_path *paths = calloc(sure->count + 1, sizeof(*paths));
    if (paths == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < sure->count; i++) {
        const struct check_finding *finding = &sure->list[i];
        paths[i] = (struct check_path){.inode = finding->inode};
        if (finding->name_length > 0) {
            paths[i].directory = finding->directory;
            paths[i].name = finding->name;
        }
    }
    int status = sure->count == 0 ? 0 : client_check_paths(check->client, paths, (uint32_t)sure->count);
    for (size_t i = 0; i < sure->count; i++)
        sure->list[i].path = paths[i].path;
    free(paths);
    return status;
}

/* Those that an earlier pass has told, and could not mend, are not told again. */
static int report_all(struct check *check, struct findings *told)
{
    struct check_result *result = check->result;
    int status = 0;
    for (size_t i = 0; status == 0 && i < check->sure.count; i++) {
        struct check_finding *finding = &check->sure.list[i];
        result->left += finding->outcome == CHECK_LEFT;
        if (finding->outcome == CHECK_LEFT && is_known(told, finding))
            continue;
        result->findings++;
        result->repaired += finding->outcome == CHECK_REPAIRED;
        if (check->options->report != NULL)
            check->options->report(check->options->owner, finding);
        struct check_finding copy = *finding;
        copy.path = NULL;
        if (finding->outcome == CHECK_LEFT)
            status = findings_add(told, &copy);
    }
    return status;
}

static int find_all(struct check *check)
{
    check->result->inodes = check->result->names = check->result->chunks = check->result->undecided = 0;
    int status = walk(check, WALK_INODES);
    if (status == 0)
        status = walk(check, WALK_NAMES);
    if (status == 0)
        status = walk(check, WALK_CHUNKS);
    if (status == 0)
        status = question_all(check);
    if (check->sure.count > 0)
        qsort(check->sure.list, check->sure.count, sizeof(check->sure.list[0]), order_findings);
    return status == 0 ? find_paths(check) : status;
}

/* *again: something was repaired, so there may be more to find. */
static int check_once(struct client *client, const struct check_options *options, struct check_result *result,
                      struct findings *told, bool *again)
{
    struct check check = {.client = client, .options = options, .result = result};
    uint32_t servers = client->map->server_count;
    check.tables = calloc(servers, sizeof(*check.tables));
    check.first = calloc(PARTITION_COUNT, sizeof(*check.first));
    check.count = calloc(PARTITION_COUNT, sizeof(*check.count));
    int status = check.tables == NULL || check.first == NULL || check.count == NULL ? -ENOMEM : 0;
    if (status == 0)
        status = find_all(&check);
    for (uint32_t i = 0; check.tables != NULL && i < servers; i++)
        free(check.tables[i].known);
    free(check.tables);
    free(check.first);
    free(check.count);
    if (status == 0 && options->repair)
        status = check_repair(client, &check.sure);
    uint64_t repaired = result->repaired;
    int reported = report_all(&check, told);
    status = status != 0 ? status : reported;
    *again = result->repaired > repaired;
    findings_free(&check.sure);
    findings_free(&check.looks);
    return status;
}

int client_check(struct client *client, const struct check_options *options, struct check_result *result)
{
    *result = (struct check_result){0};
    struct findings told = {0};
    bool again = true;
    int status = 0;
    for (unsigned i = 0; status == 0 && again && i < REPAIRS; i++) {
        result->left = 0; /* told again if it is still so */
        status = check_once(client, options, result, &told, &again);
    }
    findings_free(&told);
    return status;
}
