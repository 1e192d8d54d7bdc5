/* opt_text.c: any value for any option: gs_opt_parse answers a code and leaves nothing behind, or an option whose text reads back
 * as the same text. An input is: the option's number (or 255: the name is in the input, up to the first NUL), and the value. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gensock/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

static void check(const char *name, const char *value)
{
    gs_opt o, again;
    int e = gs_opt_parse(name, value, &o);
    if (e < 0) {
        CHECK(e == GS_EBADARG || e == -EINVAL || e == -ENOMEM);
        return;
    }
    CHECK(gs_opt_name_text(o.name) != NULL); /* another one for Erlang's atoms: inet is family */
    int n = gs_opt_text(&o, NULL, 0);
    if (n >= 0) {
        char *text = malloc((size_t)n + 1), *second = malloc((size_t)n + 1);
        CHECK(text && second && gs_opt_text(&o, text, (size_t)n + 1) == n && strlen(text) == (size_t)n);
        CHECK(gs_opt_parse(gs_opt_name_text(o.name), text, &again) == 0);
        CHECK(gs_opt_text(&again, second, (size_t)n + 1) == n && !strcmp(text, second));
        gs_opt_clear(&again);
        free(text);
        free(second);
    }
    gs_opt_clear(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1000)
        return 0;
    char text[1001];
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == 255) {
        const char *value = text + strlen(text);
        check(text, value < text + size - 1 ? value + 1 : "");
        return 0;
    }
    const char *name = gs_opt_name_text(1 + data[0] % (GS_OPT_COUNT - 1));
    CHECK(name);
    check(name, text);
    return 0;
}
