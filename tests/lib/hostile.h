/* hostile.h: rows of careless callers (promise P7). tests/check-hostile wants one for every exported symbol, in some
 * tests/unit/hostile_*.c; a row that is not in the table is an unused function, which does not compile.
 *
 *     HOSTILE(gs_version) { (void)state; assert_non_null(gs_version()); }
 *     … const struct CMUnitTest tests[] = {ROW(gs_version), …};
 */
#ifndef TEST_HOSTILE_H
#define TEST_HOSTILE_H

#include "support.h"

#define HOSTILE(symbol) static void symbol##_survives_a_careless_caller(void **state)
#define ROW(symbol) cmocka_unit_test(symbol##_survives_a_careless_caller)

#endif
