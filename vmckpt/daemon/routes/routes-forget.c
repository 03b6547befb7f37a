/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store/forget: removing checkpoints by a retention policy. */
#include "api-error.h"
#include "forget.h"
#include "router.h"
#include "store-json.h"

#include <vmckpt/store/maintain.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

/* Names of guests, lists of tags: more than these are a mistake. */
#define WORDS_MAX 1000

/* ---- What is asked ---- */

/* A body's optional array of strings; NULL if it is absent. */
static gboolean
parse_strings (Request *request, const char *member, GStrv *strings, GError **error)
{
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new();
  JsonNode *node = json_object_get_member (request->body, member);

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  JsonArray *array = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  guint count = array != NULL ? json_array_get_length (array) : 0;
  for (guint i = 0; i < count && count <= WORDS_MAX; i++) {
    const char *text = json_array_string_or_null (array, i);
    if (text == NULL)
      array = NULL;
    if (array == NULL)
      break;
    g_strv_builder_add (builder, text);
  }
  if (array == NULL || count > WORDS_MAX) {
    g_set_error (error, API_ERROR, API_USAGE, "'%s' is not a list of at most %d strings", member,
                 WORDS_MAX);
    return FALSE;
  }
  *strings = g_strv_builder_end (builder);
  return TRUE;
}

/* A list of "TAG,TAG": each a list of tags that belong together. */
static gboolean
parse_tag_lists (Request *request, const char *member, GPtrArray **lists, GError **error)
{
  g_auto (GStrv) texts = NULL;
  g_autoptr (GPtrArray) parsed = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);

  if (!parse_strings (request, member, &texts, error))
    return FALSE;
  for (guint i = 0; texts != NULL && texts[i] != NULL; i++) {
    g_auto (GStrv) tags = g_strsplit (texts[i], ",", -1);
    if (*tags == NULL && !name_check ("", "tag", error))
      return FALSE;
    for (guint j = 0; tags[j] != NULL; j++)
      if (!name_check (tags[j], "tag", error))
        return FALSE;
    g_ptr_array_add (parsed, g_steal_pointer (&tags));
  }
  *lists = g_steal_pointer (&parsed);
  return TRUE;
}

static gboolean
parse_count (Request *request, const char *member, int *count, GError **error)
{
  JsonNode *node = json_object_get_member (request->body, member);

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  gint64 number = JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_INT64
                      ? json_node_get_int (node)
                      : -2;
  if (number < RETENTION_UNLIMITED || number > G_MAXINT) {
    g_set_error (error, API_ERROR, API_USAGE, "'%s' is neither a count nor -1, for all", member);
    return FALSE;
  }
  *count = (int)number;
  return TRUE;
}

static gboolean
parse_within (Request *request, const char *member, Duration *duration, GError **error)
{
  const char *text = NULL;

  if (!request_string (request, member, &text, error))
    return FALSE;
  if (text == NULL || duration_parse (text, duration, error))
    return TRUE;
  g_prefix_error (error, "'%s': ", member);
  return FALSE;
}

static gboolean
parse_policy (Request *request, RetentionPolicy *policy, GError **error)
{
  for (guint i = 0; i < RETENTION_PERIOD_COUNT; i++) {
    const char *period = retention_period_name (i);
    g_autofree char *count = g_strconcat ("keep_", period, NULL);
    g_autofree char *within =
        i == RETENTION_LAST ? g_strdup ("keep_within") : g_strconcat ("keep_within_", period, NULL);
    if (!parse_count (request, count, &policy->count[i], error) ||
        !parse_within (request, within, &policy->within[i], error))
      return FALSE;
  }
  if (!parse_tag_lists (request, "keep_tags", &policy->tags, error))
    return FALSE;
  if (!retention_policy_is_empty (policy))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE,
                       "no rule says what to keep, so everything would go: give at least one of "
                       "keep-last, keep-hourly … keep-yearly, keep-within… and keep-tag");
  return FALSE;
}

static gboolean
parse_rules (Request *request, ForgetRules *rules, GError **error)
{
  const char *group = "guest";

  rules->keep_suspended = TRUE;
  if (!parse_policy (request, &rules->policy, error) ||
      !parse_strings (request, "guests", &rules->guests, error) ||
      !parse_tag_lists (request, "tags", &rules->filter, error) ||
      !request_string (request, "group_by", &group, error) ||
      !request_bool (request, "keep_suspended", &rules->keep_suspended, error))
    return FALSE;
  return forget_parse_group (group, &rules->group, error);
}

/* ---- What is done ---- */

static guint64
stored_bytes (const Manifest *manifest)
{
  return manifest->report != NULL ? json_get_uint64_or (manifest->report, "stored_bytes", 0) : 0;
}

static JsonArray *
strings_to_json (GStrv strings)
{
  JsonArray *array = json_array_new();

  for (guint i = 0; strings[i] != NULL; i++)
    json_array_add_string_element (array, strings[i]);
  return array;
}

static JsonObject *
verdict_to_json (const ForgetVerdict *verdict)
{
  const Manifest *manifest = verdict->manifest;
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "id", manifest->id);
  json_object_set_string_member (object, "guest", manifest->guest);
  json_object_set_string_member (object, "group", verdict->group);
  json_object_set_int_member (object, "created_us", manifest->created_us);
  json_object_set_array_member (object, "tags", strings_to_json (verdict->tags));
  json_object_set_int_member (object, "stored_bytes", (gint64)stored_bytes (manifest));
  json_object_set_boolean_member (object, "keep", *verdict->reasons != NULL);
  json_object_set_array_member (object, "reasons", strings_to_json (verdict->reasons));
  return object;
}

/* Removes what is to go, each by itself: whatever interrupts this, what is left is whole. */
static gboolean
remove_checkpoints (Request *request, Store *store, GPtrArray *verdicts, GError **error)
{
  guint removed = 0;

  for (guint i = 0; i < verdicts->len; i++) {
    const ForgetVerdict *verdict = verdicts->pdata[i];
    if (*verdict->reasons != NULL)
      continue;
    g_autoptr (GError) cause = NULL;
    if (g_cancellable_set_error_if_cancelled (request->cancellable, &cause) ||
        !store_manifest_remove (store, verdict->manifest->id, &cause)) {
      g_propagate_prefixed_error (
          error, g_steal_pointer (&cause),
          "forgetting checkpoint %.12s, after %u others: ", verdict->manifest->id, removed);
      return FALSE;
    }
    removed++;
  }
  return TRUE;
}

static JsonObject *
forgotten_to_json (GPtrArray *verdicts, GPtrArray *damaged)
{
  JsonObject *result = json_object_new();
  JsonArray *checkpoints = json_array_new(), *bad = json_array_new();
  guint64 removed = 0, bytes = 0;

  for (guint i = 0; i < verdicts->len; i++) {
    const ForgetVerdict *verdict = verdicts->pdata[i];
    json_array_add_object_element (checkpoints, verdict_to_json (verdict));
    if (*verdict->reasons == NULL) {
      removed++;
      bytes += stored_bytes (verdict->manifest);
    }
  }
  for (guint i = 0; damaged != NULL && i < damaged->len; i++)
    json_array_add_string_element (bad, damaged->pdata[i]);
  json_object_set_array_member (result, "checkpoints", checkpoints);
  json_object_set_int_member (result, "removed", (gint64)removed);
  json_object_set_int_member (result, "removed_bytes", (gint64)bytes);
  json_object_set_array_member (result, "damaged", bad);
  return result;
}

static JsonObject *
forget (Request *request, GError **error)
{
  g_auto (ForgetRules) rules = { .group = 0 };
  g_autoptr (Store) store = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) verdicts = NULL;
  gboolean dry_run = FALSE, gc = FALSE;
  StoreGcReport report = { 0 };

  if (!request_expect (request, error, "guests", "tags", "keep_last", "keep_hourly", "keep_daily",
                       "keep_weekly", "keep_monthly", "keep_yearly", "keep_within",
                       "keep_within_hourly", "keep_within_daily", "keep_within_weekly",
                       "keep_within_monthly", "keep_within_yearly", "keep_tags", "group_by",
                       "keep_suspended", "dry_run", "gc", NULL) ||
      !parse_rules (request, &rules, error) ||
      !request_bool (request, "dry_run", &dry_run, error) ||
      !request_bool (request, "gc", &gc, error) || (store = request_store (request, error)) == NULL)
    return NULL;
  verdicts = forget_judge (request->daemon, store, &rules, &damaged, error);
  if (verdicts == NULL || (!dry_run && !remove_checkpoints (request, store, verdicts, error)))
    return NULL;
  g_autoptr (JsonObject) result = forgotten_to_json (verdicts, damaged);
  json_object_set_boolean_member (result, "dry_run", dry_run);
  if (!gc || dry_run) {
    json_object_set_null_member (result, "gc");
  } else {
    if (!store_gc (store, FALSE, &report, &request->progress, request->cancellable, error)) {
      g_prefix_error (error, "the checkpoints are forgotten, but their space is not free yet: ");
      return NULL;
    }
    json_object_set_object_member (result, "gc", store_gc_to_json (&report));
  }
  return g_steal_pointer (&result);
}

const Route forget_routes[] = {
  { "POST", "/v1/store/forget", forget, NULL, TRUE },
  { NULL },
};
