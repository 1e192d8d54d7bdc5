/* session.c: what a client keeps of its sessions, by peer: a few tickets in memory, the oldest leave first. */
#include <string.h>

#include "tls/tls.h"

static void drop(struct sessions *s, int i)
{
    OPENSSL_free(s->slot[i].peer);
    SSL_SESSION_free(s->slot[i].session);
    s->slot[i].peer = NULL;
    s->slot[i].session = NULL;
}

void sessions_put(struct sessions *s, const char *peer, SSL_SESSION *session)
{
    char *copy = SSL_SESSION_is_resumable(session) ? OPENSSL_strdup(peer) : NULL;
    if (!copy) {
        SSL_SESSION_free(session);
        return;
    }
    pthread_mutex_lock(&s->mutex);
    drop(s, s->next);
    s->slot[s->next].peer = copy;
    s->slot[s->next].session = session;
    s->next = (s->next + 1) % SESSIONS;
    pthread_mutex_unlock(&s->mutex);
}

SSL_SESSION *sessions_take(struct sessions *s, const char *peer)
{
    SSL_SESSION *found = NULL;
    pthread_mutex_lock(&s->mutex);
    for (int k = 1; k <= SESSIONS && !found; k++) { /* the youngest first */
        int i = (s->next + SESSIONS - k) % SESSIONS;
        if (!s->slot[i].peer || strcmp(s->slot[i].peer, peer) != 0)
            continue;
        found = s->slot[i].session;
        if (SSL_SESSION_get_protocol_version(found) >= TLS1_3_VERSION) {
            s->slot[i].session = NULL;
            drop(s, i);
        } else
            SSL_SESSION_up_ref(found);
    }
    pthread_mutex_unlock(&s->mutex);
    return found;
}

void sessions_clear(struct sessions *s)
{
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < SESSIONS; i++)
        drop(s, i);
    pthread_mutex_unlock(&s->mutex);
}
