/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What people write for times and counts of a retention policy. */
#include "fuzz.h"

#include <vmckpt/policy/retention.h>

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *text = size > 0 ? g_strndup ((const char *)data, size) : g_strdup ("");
  g_autoptr (GTimeZone) utc = g_time_zone_new_utc();
  Duration duration, again;
  int count;

  if (duration_parse (text, &duration, NULL) && !duration_is_zero (&duration)) {
    g_autofree char *written = duration_to_string (&duration);
    g_assert_true (duration_parse (written, &again, NULL));
    g_assert_true (memcmp (&duration, &again, sizeof again) == 0);
    g_assert_cmpint (duration_before (&duration, G_GINT64_CONSTANT (1) << 50, utc), <, 1ll << 50);
  }
  if (retention_count_parse (text, &count, NULL))
    g_assert_cmpint (count, >=, RETENTION_UNLIMITED);
  return 0;
}
