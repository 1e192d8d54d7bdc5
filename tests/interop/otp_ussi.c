/* In the place of my_ussi.c of OTP's own suites of ei: the user supplied socket implementation that they ask for is gensock's. */
#include <gensock/ei.h>
#include <stdlib.h>

extern ei_socket_callbacks my_ussi; /* the suites pass its address, and its size */
extern void my_ussi_init(void);
ei_socket_callbacks my_ussi;

__attribute__((constructor)) void my_ussi_init(void)
{
    int size;
    const ei_socket_callbacks *table = gs_ei_callbacks(&size);
    if (size != (int)sizeof my_ussi)
        abort();
    my_ussi = *table;
}
