/* exit.h: what is finished at the end of the process while everything it stands on is still there.
 *
 * A transport may stand on a library that cleans up after itself at exit (OpenSSL does), and handlers of atexit(3) run in reverse
 * order: so the handler is registered once more whenever a transport comes.
 */
#ifndef GSI_EXIT_H
#define GSI_EXIT_H

/* finish: may be called several times. One for the process. */
void gsi_at_exit(void (*finish)(void));
/* From now on finish runs before what was registered until now. */
void gsi_at_exit_first(void);

#endif
