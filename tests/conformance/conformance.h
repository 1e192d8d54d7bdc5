/* conformance.h: what every transport must do alike, inherited by two lines:
 *
 *     #include "conformance/conformance.h"
 *     CONFORMANCE_MAIN({"pigeon", "pigeon://loft%u"})
 *
 * A row is a name for the report and an address to listen at. In the address "%u" becomes a number of its own for each
 * listener, "%t" the process's temporary folder; a port 0 at the end becomes the listener's port for who connects. Where a
 * transport is allowed to differ, conformance/suite/facts.c says so for its scheme; a new scheme gets a row there.
 *
 * A transport that the library does not bring is registered first: CONFORMANCE_MAIN_WITH(registering_function, {…}, …).
 */
#ifndef TEST_CONFORMANCE_H
#define TEST_CONFORMANCE_H

#include <gensock/option.h>

#include "support.h"

struct subject {
    const char *name;
    const char *address;
};

/* What every listen and connect of the cases needs besides its own options (certificates), set by the function that prepares:
 * they are the process's default options while a case runs. */
extern const gs_opt *conformance_listen, *conformance_connect;

static inline void conformance_nothing(void) {}

/* Runs all cases on each row, up to the one without a name; the number that failed. */
int conformance_run(const struct subject *subjects);

#define CONFORMANCE_MAIN(...) CONFORMANCE_MAIN_WITH(conformance_nothing, __VA_ARGS__)
#define CONFORMANCE_MAIN_WITH(prepare, ...)                                                                           \
    int main(void)                                                                                                    \
    {                                                                                                                 \
        static const struct subject subjects[] = {__VA_ARGS__, {0}};                                                  \
        prepare();                                                                                                    \
        return conformance_run(subjects);                                                                             \
    }

#endif
