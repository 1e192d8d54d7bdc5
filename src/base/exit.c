/* exit.c: the one handler of atexit(3). */
#include "base/exit.h"

#include <stdatomic.h>
#include <stdlib.h>

static _Atomic(void (*)(void)) at_exit;

static void run(void)
{
    void (*finish)(void) = atomic_load(&at_exit);
    if (finish)
        finish();
}

void gsi_at_exit(void (*finish)(void))
{
    if (!atomic_exchange(&at_exit, finish))
        (void)atexit(run); /* refused: the destructor does it */
}

void gsi_at_exit_first(void) { (void)atexit(run); }
