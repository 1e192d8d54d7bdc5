/* option_text.h: what options.c and option_text.c share: one option's check, and the options of gen_tcp that are none here. */
#ifndef GSI_OPTION_TEXT_H
#define GSI_OPTION_TEXT_H

#include "transport/transport.h"

/* The value is one of the row's. 0, or -EINVAL with a detail that names option, value and what is wanted. */
GS_MUST_USE int gsi_opt_check_value(const struct gsi_opt_row *row, const gs_opt *o);

/* The row of an Erlang name, or NULL. */
const struct gsi_opt_row *gsi_opt_row_named(const char *erlang);

/* What stands in for an Erlang option that is none of the library's, or NULL. */
const char *gsi_opt_instead(const char *erlang);

/* What a type's values look like: "a number from 0 to 255", "true or false". Answers buf. */
const char *gsi_opt_wanted(const struct gsi_opt_row *row, char *buf, size_t cap);

/* {"debug", "true"}: a trace to stderr. */
gs_debug_fn gsi_debug_stderr;

#endif
