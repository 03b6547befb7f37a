/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Retention: by hand, what the rules mean; from a file, what restic 0.14 says about random sets in
 * several time zones; and what holds for any set and policy.
 *
 * `test-retention --cases FILE` compares with cases made anew by tests/tools/retention-cases.
 */
#include <vmckpt/policy/retention.h>

#include <vmckpt/util/json.h>

#include <string.h>

#define LINE_MAX_BYTES (1024 * 1024)

/* ---- By hand ---- */

/* Checkpoints at these times ("2026-01-31T12:00Z"), with the reasons wanted, joined by "; ". */
typedef struct {
  const char *time, *tags, *reasons;
} Row;

#define ROWS_MAX 16

static void
assert_kept (const char *zone_name, const RetentionPolicy *policy, const Row *rows)
{
  g_autoptr (GTimeZone) zone = g_time_zone_new_identifier (zone_name);
  RetentionItem items[ROWS_MAX];
  GStrv tags[ROWS_MAX];
  guint count;

  for (count = 0; count < ROWS_MAX && rows[count].time != NULL; count++) {
    g_autoptr (GDateTime) time = g_date_time_new_from_iso8601 (rows[count].time, NULL);
    g_assert_nonnull (time);
    tags[count] = g_strsplit (rows[count].tags != NULL ? rows[count].tags : "", ",", -1);
    items[count] = (RetentionItem){ .id = rows[count].time,
                                    .created_us = g_date_time_to_unix (time) * G_USEC_PER_SEC,
                                    .tags = (const char *const *)tags[count],
                                    .group = "g" };
  }
  g_autoptr (GPtrArray) kept =
      retention_apply (items, count, policy, zone, 2000000000 * (gint64)G_USEC_PER_SEC);
  for (guint i = 0; i < count; i++) {
    g_autofree char *reasons = g_strjoinv ("; ", kept->pdata[i]);
    g_test_message ("%s: %s", rows[i].time, reasons);
    g_assert_cmpstr (reasons, ==, rows[i].reasons);
    g_strfreev (tags[i]);
  }
}

static void
test_last (void)
{
  const RetentionPolicy policy = { .count = { [RETENTION_LAST] = 2 } };
  const Row rows[] = { { "2026-01-01T00:00:00Z", NULL, "" },
                       { "2026-01-01T00:00:02Z", NULL, "last checkpoint" },
                       { "2026-01-01T00:00:01Z", NULL, "last checkpoint" },
                       { NULL } };

  assert_kept ("UTC", &policy, rows);
}

/* The newest of each day; with a count left, the oldest of all as well. */
static void
test_daily (void)
{
  RetentionPolicy policy = { .count = { [RETENTION_DAILY] = 3 } };
  const Row rows[] = { { "2026-01-01T10:00:00Z", NULL, "oldest daily checkpoint" },
                       { "2026-01-01T11:00:00Z", NULL, "daily checkpoint" },
                       { "2026-01-03T10:00:00Z", NULL, "" },
                       { "2026-01-03T11:00:00Z", NULL, "daily checkpoint" },
                       { NULL } };
  const Row fewer[] = { { "2026-01-01T10:00:00Z", NULL, "" },
                        { "2026-01-01T11:00:00Z", NULL, "daily checkpoint" },
                        { "2026-01-03T11:00:00Z", NULL, "daily checkpoint" },
                        { NULL } };

  assert_kept ("UTC", &policy, rows);
  policy.count[RETENTION_DAILY] = 2;
  assert_kept ("UTC", &policy, fewer);
}

static void
test_unlimited (void)
{
  const RetentionPolicy policy = { .count = { [RETENTION_YEARLY] = RETENTION_UNLIMITED } };
  const Row rows[] = { { "2001-06-01T00:00:00Z", NULL, "oldest yearly checkpoint" },
                       { "2001-07-01T00:00:00Z", NULL, "yearly checkpoint" },
                       { "2002-01-01T00:00:00Z", NULL, "" },
                       { "2002-02-01T00:00:00Z", NULL, "yearly checkpoint" },
                       { "2003-02-01T00:00:00Z", NULL, "yearly checkpoint" },
                       { NULL } };

  assert_kept ("UTC", &policy, rows);
}

/* 23:30 UTC is the next day in Berlin. */
static void
test_zone (void)
{
  const RetentionPolicy policy = { .count = { [RETENTION_DAILY] = 1, [RETENTION_MONTHLY] = 2 } };
  const Row berlin[] = {
    { "2026-01-30T12:00:00Z", NULL, "monthly checkpoint" },
    { "2026-01-31T23:30:00Z", NULL, "" },
    { "2026-02-01T12:00:00Z", NULL, "daily checkpoint; monthly checkpoint" },
    { NULL },
  };
  const Row utc[] = {
    { "2026-01-30T12:00:00Z", NULL, "" },
    { "2026-01-31T23:30:00Z", NULL, "monthly checkpoint" },
    { "2026-02-01T12:00:00Z", NULL, "daily checkpoint; monthly checkpoint" },
    { NULL },
  };

  assert_kept ("UTC", &policy, utc);
  assert_kept ("Europe/Berlin", &policy, berlin);
}

/* The hour that is there twice when summer time ends is one; the one left out is none. */
static void
test_summer_time (void)
{
  const RetentionPolicy policy = { .count = { [RETENTION_HOURLY] = 3 } };
  const Row autumn[] = { { "2025-10-26T01:50:00+02", NULL, "hourly checkpoint" },
                         { "2025-10-26T02:10:00+02", NULL, "" },
                         { "2025-10-26T02:20:00+01", NULL, "hourly checkpoint" },
                         { "2025-10-26T03:10:00+01", NULL, "hourly checkpoint" },
                         { NULL } };
  const Row spring[] = { { "2026-03-29T00:50:00+01", NULL, "hourly checkpoint" },
                         { "2026-03-29T01:10:00+01", NULL, "" },
                         { "2026-03-29T01:50:00+01", NULL, "hourly checkpoint" },
                         { "2026-03-29T03:10:00+02", NULL, "hourly checkpoint" },
                         { NULL } };

  assert_kept ("Europe/Berlin", &policy, autumn);
  assert_kept ("Europe/Berlin", &policy, spring);
}

/* Weeks are ISO weeks: December 29, 2025 is in the first one of 2026. */
static void
test_weekly (void)
{
  const RetentionPolicy policy = { .count = { [RETENTION_WEEKLY] = 2 } };
  const Row rows[] = { { "2025-12-27T12:00:00Z", NULL, "" },
                       { "2025-12-28T12:00:00Z", NULL, "weekly checkpoint" },
                       { "2025-12-29T12:00:00Z", NULL, "" },
                       { "2026-01-04T12:00:00Z", NULL, "weekly checkpoint" },
                       { NULL } };

  assert_kept ("UTC", &policy, rows);
}

/* From the newest checkpoint, not from now; and not from one of the future. */
static void
test_within (void)
{
  const RetentionPolicy policy = {
    .within = { [RETENTION_LAST] = { .days = 1 }, [RETENTION_DAILY] = { .months = 1 } }
  };
  const Row rows[] = {
    { "2019-12-20T12:00:00Z", NULL, "" },
    { "2020-01-01T11:00:00Z", NULL, "" },
    { "2020-01-01T12:00:00Z", NULL, "daily within 1m" },
    { "2020-01-19T13:00:00Z", NULL, "within 1d; daily within 1m" },
    { "2020-01-20T12:00:00Z", NULL, "within 1d; daily within 1m" },
    { "2099-01-01T00:00:00Z", NULL, "within 1d; daily within 1m" },
    { NULL },
  };

  assert_kept ("UTC", &policy, rows);
}

static void
test_tags (void)
{
  g_autoptr (GPtrArray) lists = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);
  const RetentionPolicy policy = { .tags = lists };
  const Row rows[] = { { "2026-01-01T00:00:00Z", "a", "" },
                       { "2026-01-02T00:00:00Z", "b,a", "has tags [a, b]" },
                       { "2026-01-03T00:00:00Z", "c", "has tags [c]" },
                       { "2026-01-04T00:00:00Z", NULL, "" },
                       { "2026-01-05T00:00:00Z", "c,b,a", "has tags [a, b]; has tags [c]" },
                       { NULL } };

  g_ptr_array_add (lists, g_strsplit ("a,b", ",", -1));
  g_ptr_array_add (lists, g_strsplit ("c", ",", -1));
  assert_kept ("UTC", &policy, rows);
}

static void
test_groups_and_held (void)
{
  g_autoptr (GTimeZone) utc = g_time_zone_new_utc();
  const RetentionPolicy policy = { .count = { [RETENTION_LAST] = 1 } }, none = { .tags = NULL };
  const RetentionItem items[] = {
    { .id = "1", .created_us = 1, .group = "a", .held = "suspended guest" },
    { .id = "2", .created_us = 2, .group = "a" },
    { .id = "3", .created_us = 2, .group = "a" },
    { .id = "4", .created_us = 1, .group = "b" },
  };
  static const char *const wanted[] = { "suspended guest", "", "last checkpoint",
                                        "last checkpoint" };
  g_autoptr (GPtrArray) kept = retention_apply (items, G_N_ELEMENTS (items), &policy, utc, 9);
  g_autoptr (GPtrArray) all = retention_apply (items, G_N_ELEMENTS (items), &none, utc, 9);
  g_autoptr (GPtrArray) nothing = retention_apply (NULL, 0, &policy, utc, 9);

  for (guint i = 0; i < G_N_ELEMENTS (items); i++) {
    g_autofree char *reasons = g_strjoinv ("; ", kept->pdata[i]);
    g_assert_cmpstr (reasons, ==, wanted[i]);
    g_assert_true (g_strv_contains (all->pdata[i], "policy is empty"));
  }
  g_assert_cmpuint (nothing->len, ==, 0);
}

static void
test_counts (void)
{
  static const char *const bad[] = { "", "-2", "x", "1x", " 1", "99999999999" };
  int count = 7;

  g_assert_true (retention_count_parse ("12", &count, NULL) && count == 12);
  g_assert_true (retention_count_parse ("-1", &count, NULL) && count == RETENTION_UNLIMITED);
  g_assert_true (retention_count_parse ("0", &count, NULL) && count == 0);
  g_assert_true (retention_count_parse ("unlimited", &count, NULL) && count == RETENTION_UNLIMITED);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (retention_count_parse (bad[i], &count, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  }
}

/* ---- What restic says ---- */

static void
read_policy (JsonObject *object, RetentionPolicy *policy)
{
  for (guint i = 0; i < RETENTION_PERIOD_COUNT; i++) {
    const char *period = retention_period_name (i);
    g_autofree char *count = g_strdup_printf ("keep-%s", period);
    g_autofree char *within =
        g_strdup_printf ("keep-within%s%s", i == 0 ? "" : "-", i == 0 ? "" : period);
    const char *span = json_get_string_or (object, within, NULL);
    policy->count[i] = (int)json_get_uint64_or (object, count, 0);
    g_assert_true (span == NULL || duration_parse (span, &policy->within[i], NULL));
  }
  JsonArray *tags = json_get_array (object, "keep-tag", NULL);
  policy->tags = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);
  for (guint i = 0; tags != NULL && i < json_array_get_length (tags); i++)
    g_ptr_array_add (policy->tags, g_strsplit (json_array_get_string_element (tags, i), ",", -1));
}

static char *
join (JsonArray *strings)
{
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new();

  for (guint i = 0; i < json_array_get_length (strings); i++)
    g_strv_builder_add (builder, json_array_get_string_element (strings, i));
  g_auto (GStrv) all = g_strv_builder_end (builder);
  return g_strjoinv (";", all);
}

/* Our reasons in restic's words; without those that restic has from 0.16 on: "oldest …" can only
 * be a reason of the last one to be looked at, so nothing else depends on it. */
static char *
join_reasons (GStrv reasons)
{
  g_autoptr (GStrvBuilder) known = g_strv_builder_new();

  for (guint i = 0; reasons[i] != NULL; i++)
    if (!g_str_has_prefix (reasons[i], "oldest "))
      g_strv_builder_add (known, reasons[i]);
  g_auto (GStrv) all = g_strv_builder_end (known);
  g_autofree char *ours = g_strjoinv (";", all);
  g_autoptr (GString) text = g_string_new (ours);
  g_string_replace (text, " checkpoint", " snapshot", 0);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
compare_case (JsonObject *one, guint line)
{
  g_autoptr (GTimeZone) zone =
      g_time_zone_new_identifier (json_object_get_string_member (one, "zone"));
  JsonArray *snapshots = json_object_get_array_member (one, "snapshots");
  JsonArray *keep = json_object_get_array_member (one, "keep");
  guint count = json_array_get_length (snapshots);
  g_autofree RetentionItem *items = g_new0 (RetentionItem, count);
  g_autoptr (GPtrArray) tags = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);
  g_auto (RetentionPolicy) policy = { .tags = NULL };

  g_assert_nonnull (zone);
  read_policy (json_object_get_object_member (one, "policy"), &policy);
  for (guint i = 0; i < count; i++) {
    JsonArray *snapshot = json_array_get_array_element (snapshots, i);
    g_autofree char *list = join (json_array_get_array_element (snapshot, 1));
    g_ptr_array_add (tags, g_strsplit (list, ";", -1));
    items[i] =
        (RetentionItem){ .id = "",
                         .created_us = json_array_get_int_element (snapshot, 0) * G_USEC_PER_SEC,
                         .tags = tags->pdata[i],
                         .group = "" };
  }
  g_autoptr (GPtrArray) reasons = retention_apply (
      items, count, &policy, zone, json_object_get_int_member (one, "now") * G_USEC_PER_SEC);
  for (guint i = 0; i < count; i++) {
    g_autofree char *theirs = join (json_array_get_array_element (keep, i));
    g_autofree char *ours = join_reasons (reasons->pdata[i]);
    if (!g_str_equal (ours, theirs))
      g_test_message ("line %u, snapshot %u of %" G_GINT64_FORMAT, line, i, items[i].created_us);
    g_assert_cmpstr (ours, ==, theirs);
  }
}

static void
test_cases (gconstpointer path)
{
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;
  guint compared = 0;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL && *lines[i] != 0; i++) {
    g_autoptr (JsonObject) one =
        json_parse_bounded (lines[i], strlen (lines[i]), LINE_MAX_BYTES, 8, &error);
    g_assert_no_error (error);
    compare_case (one, i + 1);
    compared++;
  }
  g_test_message ("%u cases", compared);
  g_assert_cmpuint (compared, >, 0);
}

/* ---- What always holds ---- */

static void
random_set (GRand *rand, RetentionItem *items, guint count)
{
  static const char *const ids[] = { "a", "b", "c", "d", "e", "f", "g", "h" };

  for (guint i = 0; i < count; i++)
    items[i] = (RetentionItem){ .id = ids[i % G_N_ELEMENTS (ids)],
                                .created_us = (gint64)g_rand_double_range (rand, 0, 2e15),
                                .group = ids[g_rand_int_range (rand, 0, 2)] };
}

/* A policy that asks for more never keeps less; any count keeps the newest of each group; a count
 * without bound keeps as much as one beyond the number of checkpoints; the order of the items does
 * not matter. */
static void
test_properties (void)
{
  g_autoptr (GTimeZone) zone = g_time_zone_new_identifier ("America/New_York");
  g_autoptr (GRand) rand = g_rand_new_with_seed (g_test_rand_int());

  for (guint round = 0; round < 300; round++) {
    RetentionItem items[40], reversed[40];
    guint count = g_rand_int_range (rand, 1, 40), some = 0;
    RetentionPolicy less = { .tags = NULL }, more, most;
    random_set (rand, items, count);
    for (guint i = 0; i < count; i++)
      reversed[count - 1 - i] = items[i];
    for (guint i = 0; i < RETENTION_PERIOD_COUNT; i++) {
      less.count[i] = g_rand_boolean (rand) ? g_rand_int_range (rand, 0, 5) : 0;
      less.within[i].days = g_rand_boolean (rand) ? g_rand_int_range (rand, 0, 2000) : 0;
      some += less.count[i];
    }
    most = more = less;
    for (guint i = 0; i < RETENTION_PERIOD_COUNT; i++) {
      more.count[i] = less.count[i] > 0 ? 1000 : 0;
      most.count[i] = less.count[i] > 0 ? RETENTION_UNLIMITED : 0;
    }
    g_autoptr (GPtrArray) a = retention_apply (items, count, &less, zone, G_MAXINT64);
    g_autoptr (GPtrArray) b = retention_apply (items, count, &more, zone, G_MAXINT64);
    g_autoptr (GPtrArray) c = retention_apply (items, count, &most, zone, G_MAXINT64);
    g_autoptr (GPtrArray) d = retention_apply (reversed, count, &less, zone, G_MAXINT64);
    for (guint i = 0; i < count; i++) {
      gboolean newest = TRUE;
      for (guint j = 0; j < count; j++)
        newest = newest && (!g_str_equal (items[i].group, items[j].group) ||
                            items[j].created_us <= items[i].created_us);
      g_assert_true (some == 0 || !newest || g_strv_length (a->pdata[i]) > 0);
      g_assert_true (g_strv_length (a->pdata[i]) == 0 || g_strv_length (b->pdata[i]) > 0);
      g_assert_true (g_strv_equal (b->pdata[i], c->pdata[i]));
      g_assert_true (g_strv_equal (a->pdata[i], d->pdata[count - 1 - i]));
    }
  }
}

/* Times that no calendar has do no harm. */
static void
test_strange_times (void)
{
  g_autoptr (GTimeZone) zone = g_time_zone_new_identifier ("Asia/Kathmandu");
  const RetentionPolicy policy = { .count = { 1, 1, 1, 1, 1, 1 },
                                   .within = { { .years = 1 }, { .hours = 1 } } };
  const RetentionItem items[] = { { .id = "1", .created_us = G_MAXINT64, .group = "a" },
                                  { .id = "2", .created_us = -5, .group = "a" },
                                  { .id = "3", .created_us = G_MININT64, .group = "a" } };
  g_autoptr (GPtrArray) kept =
      retention_apply (items, G_N_ELEMENTS (items), &policy, zone, G_MAXINT64);

  g_assert_true (g_strv_contains (kept->pdata[0], "last checkpoint"));
}

int
main (int argc, char **argv)
{
  g_autofree char *fixture = NULL;
  const char *cases = NULL;

  if (argc == 3 && g_str_equal (argv[1], "--cases")) {
    cases = argv[2];
    argc = 1;
  }
  g_test_init (&argc, &argv, NULL);
  if (cases != NULL) {
    g_test_add_data_func ("/policy/retention/as-restic-now", cases, test_cases);
    return g_test_run();
  }
  fixture = g_test_build_filename (G_TEST_DIST, "retention-cases.jsonl", NULL);
  g_test_add_func ("/policy/retention/last", test_last);
  g_test_add_func ("/policy/retention/daily", test_daily);
  g_test_add_func ("/policy/retention/unlimited", test_unlimited);
  g_test_add_func ("/policy/retention/zone", test_zone);
  g_test_add_func ("/policy/retention/summer-time", test_summer_time);
  g_test_add_func ("/policy/retention/weekly", test_weekly);
  g_test_add_func ("/policy/retention/within", test_within);
  g_test_add_func ("/policy/retention/tags", test_tags);
  g_test_add_func ("/policy/retention/groups-and-held", test_groups_and_held);
  g_test_add_func ("/policy/retention/counts", test_counts);
  g_test_add_data_func ("/policy/retention/as-restic", fixture, test_cases);
  g_test_add_func ("/policy/retention/properties", test_properties);
  g_test_add_func ("/policy/retention/strange-times", test_strange_times);
  return g_test_run();
}
