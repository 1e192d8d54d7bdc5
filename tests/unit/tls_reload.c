/* Certificates change without a restart: new connections get the new one, those that are open go on, tickets stay good, and a
 * damaged file changes nothing but what gs_tls_reload answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls_pair.h"

struct fixture {
    struct pki_cert ca, cert[2];
    const char *trust, *made[2], *key[2], *cert_file, *key_file;
};

/* As an administrator's tool does it: a new file under the name of the old one. */
static void replace(const char *to, const char *from, size_t at_most)
{
    char buf[8192], fresh[200];
    snprintf(fresh, sizeof fresh, "%s.new", to);
    FILE *in = fopen(from, "re"), *out = fopen(fresh, "we");
    assert_true(in && out);
    size_t n = fread(buf, 1, at_most < sizeof buf ? at_most : sizeof buf, in);
    assert_int_equal(fwrite(buf, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(rename(fresh, to), 0);
}

static void use(struct fixture *f, int i)
{
    replace(f->key_file, f->key[i], SIZE_MAX);
    replace(f->cert_file, f->made[i], SIZE_MAX);
}

static int make(void **state)
{
    static struct fixture f;
    f.ca = pki_make(&(struct pki_spec){.cn = "reload CA", .ca = true}, NULL);
    f.trust = pki_cert_file("reload-ca.pem", (const struct pki_cert *const[]){&f.ca}, 1);
    for (int i = 0; i < 2; i++) {
        char name[32];
        f.cert[i] = pki_make(&(struct pki_spec){.cn = i ? "new" : "old", .san = "DNS:reload.test"}, &f.ca);
        snprintf(name, sizeof name, "made%d.pem", i);
        f.made[i] = pki_cert_file(name, (const struct pki_cert *const[]){&f.cert[i]}, 1);
        snprintf(name, sizeof name, "made%d.key", i);
        f.key[i] = pki_key_file(name, &f.cert[i]);
    }
    f.cert_file = strdup(temp_path("used.pem"));
    f.key_file = strdup(temp_path("used.key"));
    *state = &f;
    return 0;
}

static int drop(void **state)
{
    struct fixture *f = *state;
    pki_free(&f->ca);
    pki_free(&f->cert[0]);
    pki_free(&f->cert[1]);
    free((char *)(uintptr_t)f->cert_file);
    free((char *)(uintptr_t)f->key_file);
    return 0;
}

/* Which of the two certificates a new connection is shown. */
static int shown(struct tls_pair *p, const gs_opt *client)
{
    uint8_t der[4096];
    tls_meet(p, client);
    assert_code(p->connected, 0);
    assert_code(p->accepted, 0);
    tls_carry(p->server, p->client, 100);
    long n = assert_ok(gs_stream_peercert(p->client, der, sizeof der));
    const uint8_t *at = der;
    X509 *cert = d2i_X509(NULL, &at, n);
    char cn[16] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
    X509_free(cert);
    tls_part(p);
    return strcmp(cn, "new") == 0;
}

#define SERVER(f) GS_OPTS(GS_STR(TLS_CERT_FILE, (f)->cert_file), GS_STR(TLS_KEY_FILE, (f)->key_file))
#define CLIENT(f, resume)                                                                                                        \
    GS_OPTS(GS_STR(TLS_CA_FILE, (f)->trust), GS_STR(TLS_SERVER_NAME, "reload.test"), GS_INT(TLS_RESUME, resume))

static void a_changed_file_is_used_from_the_next_handshake_on(void **state)
{
    struct fixture *f = *state;
    struct tls_pair p;
    use(f, 0);
    const gs_opt *client = CLIENT(f, 0);
    tls_listen(&p, SERVER(f));
    assert_int_equal(shown(&p, client), 0);
    tls_meet(&p, client);
    assert_code(p.connected, 0);
    gs_stream old[2] = {p.client, p.server};
    use(f, 1);
    assert_until(shown(&p, client) == 1, 10000); /* without gs_tls_reload: it looks once a second */
    tls_carry(old[0], old[1], 50000);
    tls_carry(old[1], old[0], 50000);
    gs_stream_close(old[0]);
    gs_stream_close(old[1]);
    tls_pair_close(&p);
}

static void reload_looks_at_once_and_tickets_stay_good(void **state)
{
    struct fixture *f = *state;
    struct tls_pair p;
    use(f, 0);
    const gs_opt *client = CLIENT(f, 0), *resuming = CLIENT(f, 1);
    tls_listen(&p, SERVER(f));
    assert_ok(gs_tls_reload());
    assert_int_equal(shown(&p, client), 0);
    assert_int_equal(shown(&p, resuming), 0); /* and takes tickets along */
    use(f, 1);
    assert_until(shown(&p, client) == 1, 10000);
    gs_connection_information i;
    tls_meet(&p, resuming);
    assert_code(p.connected, 0);
    assert_ok(gs_stream_connection_information(p.client, &i));
    assert_true(i.resumed);
    tls_part(&p);
    use(f, 0);
    assert_ok(gs_tls_reload());
    assert_int_equal(shown(&p, client), 0);
    tls_pair_close(&p);
}

static void a_damaged_file_leaves_the_old_one_in_use(void **state)
{
    struct fixture *f = *state;
    struct tls_pair p;
    use(f, 0);
    const gs_opt *client = CLIENT(f, 0);
    tls_listen(&p, SERVER(f));
    assert_ok(gs_tls_reload());
    replace(f->cert_file, f->made[1], 200); /* cut */
    assert_code(gs_tls_reload(), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), f->cert_file));
    assert_int_equal(shown(&p, client), 0);
    replace(f->cert_file, f->made[1], SIZE_MAX); /* whole, but the key is the other's */
    assert_code(gs_tls_reload(), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), f->key_file));
    assert_int_equal(shown(&p, client), 0);
    assert_int_equal(unlink(f->cert_file), 0);
    assert_code(gs_tls_reload(), -ENOENT);
    assert_int_equal(shown(&p, client), 0);
    use(f, 1);
    assert_ok(gs_tls_reload());
    assert_int_equal(shown(&p, client), 1);
    tls_pair_close(&p);
}

/* A key's secret, as a text of any kind would show it. */
static void no_detail_shows_the_key(void **state)
{
    struct fixture *f = *state;
    char pem[4096], detail[1000];
    use(f, 0);
    FILE *k = fopen(f->key_file, "re");
    assert_non_null(k);
    size_t n = fread(pem, 1, sizeof pem - 1, k);
    pem[n] = '\0';
    fclose(k);
    char *body = strchr(strchr(pem, '\n') + 1, '\n') + 1; /* the second line: the first is the same for every key */
    body[16] = '\0';
    replace(f->key_file, f->key[0], n / 2);
    gs_stream s;
    int e = gs_stream_listen(&s, "tls://127.0.0.1:0",
                             GS_OPTS(GS_STR(TLS_CERT_FILE, f->made[0]), GS_STR(TLS_KEY_FILE, f->key_file)), GS_NO_MAILBOX);
    assert_code(e, -EINVAL);
    snprintf(detail, sizeof detail, "%s", gs_error_detail(e));
    assert_non_null(strstr(detail, f->key_file));
    assert_null(strstr(detail, body));
    e = gs_stream_listen(&s, "tls://127.0.0.1:0", GS_OPTS(GS_STR(TLS_CERT_FILE, f->key[0]), GS_STR(TLS_KEY_FILE, f->key[0])),
                         GS_NO_MAILBOX);
    assert_code(e, -EINVAL);
    assert_null(strstr(gs_error_detail(e), body));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_file_is_used_from_the_next_handshake_on),
        cmocka_unit_test(reload_looks_at_once_and_tickets_stay_good),
        cmocka_unit_test(a_damaged_file_leaves_the_old_one_in_use),
        cmocka_unit_test(no_detail_shows_the_key),
    };
    if (gs_tls_register() < 0)
        return 1;
    return cmocka_run_group_tests(tests, make, drop);
}
