/* The lines of tailnet_peer: commands taken apart, answers put together. */
#include "tailnet_peer.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char *skip_blanks(char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\n')
        p++;
    return p;
}

/* The end of a value that begins at p; NULL: it has none. Strings have no escapes. */
static char *value_end(char *p)
{
    if (*p == '"')
        return (p = strpbrk(p + 1, "\"\\")) && *p == '"' ? p + 1 : NULL;
    if (*p == '[')
        return (p = strchr(p, ']')) ? p + 1 : NULL;
    return p + strcspn(p, ",} \n");
}

int command_parse(command *c, char *text)
{
    c->text = text;
    c->n = 0;
    if (!text)
        return -ENOMEM;
    char *p = skip_blanks(text);
    if (*p++ != '{')
        return GS_EBADARG;
    while (*(p = skip_blanks(p)) == '"' && c->n < FIELDS_MAX) {
        char *key = p + 1, *end = value_end(p);
        if (!end)
            return GS_EBADARG;
        end[-1] = '\0';
        if (*(p = skip_blanks(end)) != ':')
            return GS_EBADARG;
        p = skip_blanks(p + 1);
        char *value = p;
        if (!(end = value_end(p)))
            return GS_EBADARG;
        p = skip_blanks(end);
        char next = *p;
        if (next != ',' && next != '}')
            return GS_EBADARG;
        if (*value == '"') {
            value++;
            end--;
        }
        *end = '\0';
        c->fields[c->n].key = key;
        c->fields[c->n++].value = value;
        p++;
        if (next == '}') {
            c->end_ms = now_ms() + command_number(c, "timeout_ms", DEFAULT_TIMEOUT_MS);
            return 0;
        }
    }
    return GS_EBADARG;
}

static const char *raw(const command *c, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->fields[i].key, key))
            return strcmp(c->fields[i].value, "null") ? c->fields[i].value : NULL;
    return NULL;
}

const char *command_text(const command *c, const char *key)
{
    const char *s = raw(c, key);
    return s && *s ? s : NULL;
}

int64_t command_number(const command *c, const char *key, int64_t otherwise)
{
    const char *s = raw(c, key);
    return s ? strtoll(s, NULL, 10) : otherwise;
}

bool command_flag(const command *c, const char *key)
{
    const char *s = raw(c, key);
    return s && !strcmp(s, "true");
}

size_t command_numbers(const command *c, const char *key, int64_t *out, size_t cap)
{
    const char *s = raw(c, key);
    size_t n = 0;
    for (s = s && *s == '[' ? s + 1 : ""; *s && *s != ']' && n < cap;) {
        char *end;
        out[n] = strtoll(s, &end, 10);
        if (end == s)
            break;
        n++;
        s = end + strspn(end, ", ");
    }
    return n;
}

size_t command_words(const command *c, const char *key, const char **out, size_t cap, char **copy)
{
    const char *s = raw(c, key);
    size_t n = 0;
    *copy = s && *s == '[' ? strdup(s) : NULL;
    char *p = *copy ? strchr(*copy, '"') : NULL;
    while (p && n < cap) {
        char *end = strchr(p + 1, '"');
        if (!end)
            break;
        *end = '\0';
        out[n++] = p + 1;
        p = strchr(end + 1, '"');
    }
    return n;
}

int command_left_ms(const command *c)
{
    int64_t left = c->end_ms - now_ms();
    return left > 0 ? (int)left : 0;
}

void print_json_text(FILE *f, const char *value)
{
    fputc('"', f);
    for (const char *p = value ? value : ""; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if ((unsigned char)*p < 0x20)
            fprintf(f, "\\u%04x", (unsigned)*p);
        else
            fputc(*p, f);
    fputc('"', f);
}

void put_key(answer *a, const char *key)
{
    fprintf(a->f, ",\"%s\":", key);
}

void put_text(answer *a, const char *key, const char *value)
{
    put_key(a, key);
    print_json_text(a->f, value);
}

void put_int(answer *a, const char *key, int64_t value)
{
    put_key(a, key);
    fprintf(a->f, "%lld", (long long)value);
}

void put_real(answer *a, const char *key, double value)
{
    put_key(a, key);
    fprintf(a->f, "%.6f", value);
}

int answer_fail(answer *a, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->detail, sizeof a->detail, format, args);
    va_end(args);
    return code;
}
