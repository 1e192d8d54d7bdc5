/* The other side of tests/interop/tsnet: tailnet nodes of gensock, steered by the same lines of JSON. What its three files share:
 * a command's fields, an answer under way, and the nodes. */
#ifndef GENSOCK_TESTS_TAILNET_PEER_H
#define GENSOCK_TESTS_TAILNET_PEER_H

#include <errno.h>
#include <gensock/socket.h>
#include <gensock/stream.h>
#include <gensock/tailnet.h>
#include <stdio.h>

enum { FIELDS_MAX = 32, NODES_MAX = 64, DOORS_MAX = 32, WORDS_MAX = 16, DEFAULT_TIMEOUT_MS = 20000 };
enum { MISMATCH = -9000, OTHER = -9001 }; /* beside gensock's codes: what came is not what was sent; several failures */

/* One line, taken apart in place: a flat object of strings without escapes, numbers, words and lists of these. */
typedef struct {
    char *text;
    struct {
        const char *key, *value; /* a string without its quotes; all else as it stands */
    } fields[FIELDS_MAX];
    size_t n;
    int64_t end_ms; /* when the command must be done */
} command;

/* 0, or GS_EBADARG. Takes text, which free gives back. */
int command_parse(command *c, char *text);
const char *command_text(const command *c, const char *key);  /* NULL: absent, null or "" */
int64_t command_number(const command *c, const char *key, int64_t otherwise);
bool command_flag(const command *c, const char *key);
size_t command_numbers(const command *c, const char *key, int64_t *out, size_t cap);
/* The words of a list of strings; *copy holds them, free gives it back. */
size_t command_words(const command *c, const char *key, const char **out, size_t cap, char **copy);
int command_left_ms(const command *c); /* >= 0 */
int64_t now_ms(void);

/* An answer: fields behind "id". */
typedef struct {
    FILE *f;
    char *text;
    size_t n;
    char detail[512]; /* of the error, where gs_error_detail has none */
} answer;

void put_text(answer *a, const char *key, const char *value);
void put_int(answer *a, const char *key, int64_t value);
void put_real(answer *a, const char *key, double value);
/* A value that stands as it is, then more by hand into a->f. */
void put_key(answer *a, const char *key);
void print_json_text(FILE *f, const char *value);
/* Sets the detail and answers the code. */
int answer_fail(answer *a, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

typedef struct {
    char name[64];
    gs_tailnet id;
    struct {
        int port;
        bool udp, used;
        gs_stream stream;
        gs_socket socket[2];
    } doors[DOORS_MAX];
} peer_node;

/* The node that field `node` names. 0; GS_EBADARG. */
int find_node(const command *c, answer *a, peer_node *out);
/* Remembers a listener of that node. GS_EBADARG: no such node; GS_ESYSLIMIT. */
int keep_door(const char *node, int port, bool udp, gs_stream stream, const gs_socket *sockets);
int drop_door(const char *node, int port, bool udp);

/* Who is at the other end, as the rig's `who` has it: fields without the braces. */
void print_peer(FILE *f, const gs_peer *p);

typedef int command_fn(const command *c, answer *a);
command_fn peer_listen, peer_unlisten, peer_dial, peer_udp, peer_lab, peer_lab_nodes, peer_lab_remove, peer_lab_restart;

#endif
