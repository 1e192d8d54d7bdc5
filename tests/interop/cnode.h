/* cnode.h: a C node that the scripts ei_* steer line by line: "ID COMMAND WORD…" there, "ID ok WORDS" or "ID error TEXT" back.
 * Each command runs in a thread of its own, so any number may wait at once; `census` alone runs between them. The node is
 * stock ei or gensock's callbacks, as its first argument says: what a script asks for is the same. */
#ifndef CNODE_H
#define CNODE_H

#include <ei.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORDS_MAX = 12, ANSWER_CAP = 4096, PATIENCE_MS = 30000 };

struct command {
    unsigned long id;
    int n; /* words behind the command's name */
    char *word[WORDS_MAX];
    char *line;
    pthread_t thread;
    struct command *next;
    bool failed;
    char answer[ANSWER_CAP];
};

/* The n-th word as a number, 0 when there is none. */
long number(const struct command *c, int n);
const char *text(const struct command *c, int n); /* "" when there is none */
void answer(struct command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A failure, with ei's erl_errno and, if the callbacks are gensock's, what they know of it. */
void fail_with(struct command *c, const char *what, int result);

/* ---- cnode_open.c ---- */
extern ei_cnode node;
/* argv: stock or a transport's scheme, ALIVE@HOST, COOKIE, NAME=VALUE…: options of both ends; listen.NAME=VALUE, connect.NAME=VALUE
 * of one; map=PREFIX: what ei's addresses mean, PREFIX:PORT; tailnet.NAME=VALUE. False: said on stderr. */
bool node_open(int argc, char **argv);
void node_close(void);
void open_listen(struct command *c);  /* ADDRESS: fd, port */
void open_publish(struct command *c); /* PORT: a socket at the real epmd, through gs_epmd_register; stock: ei_publish */
void open_accept(struct command *c);  /* FD MS: fd, node, IPv4 address */
void open_connect(struct command *c); /* ADDRESS MS: fd */
void open_named(struct command *c);   /* ei's own functions: connect|xconnect|host_port|xhost_port NODE-OR-IP MS PORT: fd */
void open_lookup(struct command *c);  /* EPMD ALIVE MS: port */
void open_stream(struct command *c);  /* FD: transport, peer's address, secure */
void open_close(struct command *c);   /* FD */

/* ---- cnode_talk.c ---- */
void talk_serve(struct command *c);   /* FD [select]: answers messages until the connection ends: how many, why it ended */
void talk_accepts(struct command *c); /* LISTENER: accepts and serves each in a thread, until accepting fails: how many */
void talk_rpc(struct command *c);     /* FD MODULE FUNCTION TEXT: the answer's text */
void talk_flood(struct command *c);   /* FD NAME COUNT SIZE THREADS: {Thread, I, Bytes} to the process of this name */
void talk_round(struct command *c);   /* FD NAME SIZE [echo]: {Self, Bytes}, or {echo, Self, Bytes}; the same bytes come back */
void talk_sequence(struct command *c); /* FD N: {seq, …} N times to a C node that serves: how many came out of order there */
void talk_timed(struct command *c);   /* FUNCTION FD MS [SIZE]: one of ei's functions with _tmo: its result, ms that it took */
void talk_flags(struct command *c);   /* FD: blocking or not */
void talk_idle(struct command *c);    /* FD MS: reads for that long: how many ticks came; a message is an error */
/* Reads on the connection's own number: what select says of it within MS. */
void talk_ready(struct command *c);

#endif
