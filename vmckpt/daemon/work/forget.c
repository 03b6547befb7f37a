/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "forget.h"

#include "api-error.h"
#include "suspended.h"

#include <string.h>

static const struct {
  const char *name;
  ForgetGroup flag;
} group_names[] = {
  { "guest", FORGET_BY_GUEST },
  { "uuid", FORGET_BY_UUID },
  { "host", FORGET_BY_HOST },
  { "tags", FORGET_BY_TAGS },
};

void
forget_rules_clear (ForgetRules *rules)
{
  retention_policy_clear (&rules->policy);
  g_clear_pointer (&rules->guests, g_strfreev);
  g_clear_pointer (&rules->filter, g_ptr_array_unref);
}

static void
verdict_free (gpointer data)
{
  ForgetVerdict *verdict = data;
  g_clear_pointer (&verdict->manifest, manifest_free);
  g_strfreev (verdict->tags);
  g_free (verdict->group);
  g_strfreev (verdict->reasons);
  g_free (verdict);
}

/* The flag of that name, or 0. */
static ForgetGroup
group_flag (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (group_names); i++)
    if (g_str_equal (name, group_names[i].name))
      return group_names[i].flag;
  return 0;
}

gboolean
forget_parse_group (const char *text, ForgetGroup *group, GError **error)
{
  g_auto (GStrv) words = g_strsplit (text, ",", -1);
  gboolean none = g_str_equal (text, "none");
  gboolean good = none || *words != NULL;

  *group = 0;
  for (guint i = 0; !none && words[i] != NULL; i++) {
    *group |= group_flag (words[i]);
    good = good && group_flag (words[i]) != 0;
  }
  if (!good)
    g_set_error (error, API_ERROR, API_USAGE,
                 "group_by '%.40s': not 'none' nor a list of guest, uuid, host and tags", text);
  return good;
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char **)a, *(const char **)b);
}

/* The tags of a checkpoint, those given later included, sorted, each once. */
static GStrv
tags_of (const Manifest *manifest, GHashTable *later)
{
  g_autoptr (GPtrArray) tags = g_ptr_array_new();
  g_autoptr (GStrvBuilder) unique = g_strv_builder_new();
  GPtrArray *more = g_hash_table_lookup (later, manifest->id);

  if (manifest->tag != NULL)
    g_ptr_array_add (tags, manifest->tag);
  for (guint i = 0; more != NULL && i < more->len; i++)
    g_ptr_array_add (tags, more->pdata[i]);
  g_ptr_array_sort (tags, compare_strings);
  for (guint i = 0; i < tags->len; i++)
    if (i == 0 || !g_str_equal (tags->pdata[i], tags->pdata[i - 1]))
      g_strv_builder_add (unique, tags->pdata[i]);
  return g_strv_builder_end (unique);
}

static char *
group_of (const Manifest *manifest, GStrv tags, ForgetGroup group)
{
  g_autoptr (GPtrArray) parts = g_ptr_array_new_with_free_func (g_free);

  if (group & FORGET_BY_GUEST)
    g_ptr_array_add (parts, g_strdup_printf ("guest %s", manifest->guest));
  if (group & FORGET_BY_UUID)
    g_ptr_array_add (parts, g_strdup_printf ("uuid %s", manifest->guest_uuid));
  if (group & FORGET_BY_HOST)
    g_ptr_array_add (parts,
                     g_strdup_printf ("host %s", manifest->host != NULL ? manifest->host : "?"));
  if (group & FORGET_BY_TAGS) {
    g_autofree char *list = g_strjoinv (", ", tags);
    g_ptr_array_add (parts, g_strdup_printf ("tags [%s]", list));
  }
  if (parts->len == 0)
    return g_strdup ("all checkpoints");
  g_ptr_array_add (parts, NULL);
  return g_strjoinv (", ", (char **)parts->pdata);
}

static gboolean
passes_filter (GStrv tags, GPtrArray *filter)
{
  for (guint i = 0; filter != NULL && i < filter->len; i++) {
    gboolean all = TRUE;
    for (char **tag = g_ptr_array_index (filter, i); *tag != NULL; tag++)
      all = all && g_strv_contains ((const char *const *)tags, *tag);
    if (all)
      return TRUE;
  }
  return filter == NULL || filter->len == 0;
}

static gboolean
check_guests (const ForgetRules *rules, GPtrArray *manifests, GError **error)
{
  for (guint i = 0; rules->guests != NULL && rules->guests[i] != NULL; i++) {
    gboolean found = FALSE;
    for (guint j = 0; j < manifests->len && !found; j++)
      found = g_str_equal (((Manifest *)manifests->pdata[j])->guest, rules->guests[i]);
    if (!found) {
      g_set_error (error, API_ERROR, API_NOT_FOUND, "there is no checkpoint of a guest '%.80s'",
                   rules->guests[i]);
      return FALSE;
    }
  }
  return TRUE;
}

/* A tag that cannot be read may be one that keeps its checkpoint. */
static gboolean
check_tags (const ForgetRules *rules, guint damaged, GError **error)
{
  gboolean matter = (rules->policy.tags != NULL && rules->policy.tags->len > 0) ||
                    (rules->group & FORGET_BY_TAGS) != 0;

  if (damaged == 0 || !matter)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "%u tag%s cannot be read, and may be what keeps a checkpoint; 'vmckpt store check' "
               "says more, 'vmckpt store gc' removes them",
               damaged, damaged == 1 ? "" : "s");
  return FALSE;
}

/* Takes from @manifests what the rules are about. */
static GPtrArray *
select_checkpoints (const ForgetRules *rules, GPtrArray *manifests, GHashTable *tags,
                    GArray *indices)
{
  GPtrArray *verdicts = g_ptr_array_new_with_free_func (verdict_free);

  for (guint i = 0; i < manifests->len; i++) {
    Manifest *manifest = manifests->pdata[i];
    g_auto (GStrv) own = tags_of (manifest, tags);
    if ((rules->guests != NULL && *rules->guests != NULL &&
         !g_strv_contains ((const char *const *)rules->guests, manifest->guest)) ||
        !passes_filter (own, rules->filter))
      continue;
    ForgetVerdict *verdict = g_new0 (ForgetVerdict, 1);
    verdict->group = group_of (manifest, own, rules->group);
    verdict->tags = g_steal_pointer (&own);
    g_ptr_array_add (verdicts, verdict);
    g_array_append_val (indices, i);
  }
  return verdicts;
}

/* Gives each verdict its reasons; @indices: where its manifest is in @manifests. */
static void
apply_policy (Daemon *daemon, Store *store, const ForgetRules *rules, GPtrArray *verdicts,
              GPtrArray *manifests, GArray *indices)
{
  g_autofree RetentionItem *items = g_new0 (RetentionItem, verdicts->len);
  g_autoptr (GTimeZone) zone = g_time_zone_new_local();

  for (guint i = 0; i < verdicts->len; i++) {
    ForgetVerdict *verdict = verdicts->pdata[i];
    guint index = g_array_index (indices, guint, i);
    const Manifest *manifest = manifests->pdata[index];
    gboolean held = rules->keep_suspended && suspended_waits (daemon, store, manifests, index);
    g_autoptr (Guest) needing =
        registry_find_needing (daemon->registry, store_id (store), manifest->id);
    g_autofree char *disks =
        hydrations_find_needing (daemon->hydrations, store_id (store), manifest->id);
    gboolean served = disk_exports_find (daemon->exports, store_id (store), manifest->id) != 0;
    items[i] = (RetentionItem){ .id = manifest->id,
                                .created_us = manifest->created_us,
                                .tags = (const char *const *)verdict->tags,
                                .group = verdict->group,
                                .held = held              ? "suspended guest"
                                        : needing != NULL ? "memory of a guest comes from it"
                                        : disks != NULL   ? "disks of a guest come from it"
                                        : served          ? "its disks are served"
                                                          : NULL };
  }
  g_autoptr (GPtrArray) reasons =
      retention_apply (items, verdicts->len, &rules->policy, zone, g_get_real_time());
  for (guint i = 0; i < verdicts->len; i++) {
    ForgetVerdict *verdict = verdicts->pdata[i];
    verdict->reasons = g_steal_pointer (&reasons->pdata[i]);
    verdict->manifest = g_steal_pointer (&manifests->pdata[g_array_index (indices, guint, i)]);
  }
}

GPtrArray *
forget_judge (Daemon *daemon, Store *store, const ForgetRules *rules, GPtrArray **damaged,
              GError **error)
{
  g_autoptr (GArray) indices = g_array_new (FALSE, FALSE, sizeof (guint));
  g_autoptr (GPtrArray) bad = NULL;
  guint bad_tags = 0;
  /* Tags first: one of a checkpoint that comes later is of no consequence. */
  g_autoptr (GHashTable) tags = store_tags_all (store, &bad_tags, error);
  g_autoptr (GPtrArray) manifests =
      tags != NULL ? store_manifest_list (store, NULL, &bad, error) : NULL;

  if (manifests == NULL || !check_guests (rules, manifests, error) ||
      !check_tags (rules, bad_tags, error))
    return NULL;
  GPtrArray *verdicts = select_checkpoints (rules, manifests, tags, indices);
  apply_policy (daemon, store, rules, verdicts, manifests, indices);
  *damaged = g_steal_pointer (&bad);
  return verdicts;
}
