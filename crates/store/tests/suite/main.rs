//! One suite for both engines: what a store promises, whatever keeps it.
//!
//! SQLite always runs. PostgreSQL runs where `MARQUE_TEST_POSTGRES_URL` names a database in which schemas may be made; with
//! `MARQUE_REQUIRE_POSTGRES=1` a missing address is a failure and not a skip.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod cases;
mod crash;
mod engine;
mod fixture;
mod proxy;
mod replicas;

/// Runs every case on every engine.
macro_rules! on_both_engines {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::cases::$module::$case(crate::engine::Sqlite::new()).await;
                }
            )+
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(engine) = crate::engine::Postgres::new().await {
                        crate::cases::$module::$case(engine).await;
                    }
                }
            )+
        }
    };
}

on_both_engines! {
    deferrals::a_deferral_is_there_after_opening_again,
    deferrals::one_open_deferral_past_the_limit_is_refused,
    deferrals::the_same_request_takes_the_place_of_the_one_before,
    deferrals::what_ended_long_ago_is_forgotten,
    deferrals::an_agent_cannot_fill_the_table,
    deferrals::a_code_is_spent_with_its_use_and_once,
    deferrals::a_use_that_is_refused_leaves_the_code_unspent,
    deferrals::a_code_of_another_intent_agent_or_time_is_spent_for_nothing,
    deferrals::a_cancelled_deferral_withdraws_its_intent_with_it,
    deferrals::of_a_cancellation_and_a_collection_one_wins,
    deferrals::a_poll_keeps_an_expiry_that_is_due,
    deferrals::a_damaged_deferral_is_a_clear_error_and_its_neighbours_live,
    derive::of_an_intents_derived_tokens_64_are_live_and_no_more,
    derive::of_80_who_derive_at_once_64_get_a_token,
    derive::of_64_who_derive_from_a_token_of_a_single_use_one_gets_a_token,
    derive::oauth_21_revoked_parent_nor_any_other_dead_one_gives_a_token,
    derive::no_token_is_kept_that_is_wider_than_its_parent,
    derive::the_end_of_an_intent_and_derivations_at_once_leave_no_live_token,
    derive::the_record_of_a_token_names_who_stands_at_its_root,
    durability::what_is_answered_is_durable_by_the_engines_own_word,
    durability::the_commit_comes_before_the_answer,
    durability::a_commit_that_fails_answers_nobody_and_leaves_no_gap,
    durability::one_refused_transaction_takes_nobody_else_down,
    durability::everything_is_there_after_opening_again,
    durability::the_store_of_another_trust_domain_is_refused,
    exceptions::m_43_of_32_at_once_as_many_have_an_exception_as_it_has_runs,
    exceptions::what_is_open_now_is_counted_however_old_it_is,
    intents::an_intent_is_found_listed_and_changed,
    intents::approving_less_once_more_after_opening_again_changes_nothing,
    intents::a_listing_is_filtered_bounded_and_newest_first,
    intents::a_queue_is_ordered_by_risk_and_end_before_it_is_cut,
    intents::a_change_that_is_refused_changes_nothing,
    intents::an_expiry_that_is_due_is_kept_although_the_change_is_refused,
    intents::an_intent_id_is_given_once,
    intents::the_same_request_is_answered_with_the_same_intent,
    intents::an_idempotency_key_with_another_body_conflicts,
    intents::an_idempotency_key_belongs_to_one_agent,
    intents::an_idempotency_key_ends_after_a_day,
    intents::many_at_once_with_one_key_make_one_intent,
    lending::of_64_at_once_only_as_many_get_a_use_as_there_are,
    lending::nothing_is_used_below_an_intent_that_has_ended,
    lending::what_was_not_used_below_comes_back,
    lending::break_glass_as_standing_privilege_is_refused,
    uses::of_64_who_redeem_a_single_use_one_wins,
    uses::a_use_gives_one_token_and_one_leaf,
    uses::a_use_whose_row_is_not_the_one_that_was_read_is_not_redeemed,
    uses::a_token_id_is_given_once,
    uses::an_unknown_intent_and_a_foreign_one_are_refused,
    uses::a_use_after_the_end_is_refused_and_the_end_is_kept,
    kept::a_row_is_kept_replaced_listed_and_taken_away,
    kept::only_the_version_that_was_seen_is_replaced,
    kept::of_32_who_write_one_row_one_writes,
    kept::a_row_ends_and_is_forgotten,
    kept::all_rows_of_a_write_or_none,
    kept::what_is_kept_is_there_after_opening_again,
    kills::a_kill_refuses_redeeming_and_asking_from_then_on,
    kills::what_a_kill_stops_is_not_approved_any_more,
    kills::what_is_lifted_goes_on_also_after_opening_again,
    kills::after_the_leaf_of_a_kill_no_use_follows,
    kills::a_kill_holds_while_the_database_takes_nothing_and_is_recorded_later,
    kills::a_kill_that_only_the_journal_has_is_recorded_after_opening_again,
    kills::two_kills_at_once_are_two_epochs,
    kills::of_one_origin_there_is_one_kill_also_after_its_lift_and_opening_again,
    life::every_token_that_is_kept_is_listed_once_page_by_page,
    life::oauth_12_3_a_revocation_takes_all_that_derives_along_with_a_leaf_for_each,
    families::oauth_12_3_a_clock_that_was_ahead_for_a_while_hides_nobody_from_a_revocation,
    families::oauth_12_3_a_token_that_does_not_read_stops_a_revocation_and_is_not_stepped_over,
    families::one_derived_token_past_those_that_have_not_expired_is_refused_be_the_others_dead,
    families::cve_2025_55241_on_whose_behalf_a_token_is_and_who_asked_is_in_the_log_and_kept,
    life::oauth_12_4_a_revoked_token_is_not_derived_from_again,
    life::oauth_12_5_a_revocation_and_derivations_at_once_leave_no_live_token,
    life::cve_2026_1035_of_64_who_use_a_token_of_a_single_use_one_is_told_that_it_is_active,
    life::a_token_of_a_single_use_is_used_or_derived_from_and_never_both,
    life::a_token_of_more_uses_is_not_used_up_and_a_dead_one_not_used,
    life::oauth_15_4_a_place_is_given_once_also_after_opening_again,
    life::a_refused_use_gives_no_place,
    life::oauth_15_5_whatever_may_have_ended_is_among_the_suspects,
    life::what_is_long_over_is_forgotten_in_bounded_steps_and_the_log_still_verifies,
    life::an_idempotency_key_that_is_over_is_forgotten_and_others_stay,
    open::m_75_of_many_who_ask_at_once_as_many_get_a_grant_as_may_be_open,
    open::m_75_a_cap_counts_targets_and_the_grants_of_one_playbook,
    open::m_75_a_cap_counts_what_was_used_on_behalf_of_one_person,
    open::what_was_asked_for_under_an_intent_ends_in_the_transaction_of_its_end,
    open::an_end_by_a_clock_reaches_below_too,
    open::nothing_is_asked_for_below_an_intent_that_ended,
    open::uses_below_an_intent_are_taken_from_its_own,
    open::an_orphan_names_no_parent_that_is_not_there,
    open::a_pending_intent_begins_anew_with_another_grant,
    open::nothing_is_granted_on_a_clock_that_is_behind_the_log,
    open::no_use_before_the_kills_were_read_after_a_crash,
    stories::no_story_takes_an_illegal_edge_or_loses_a_use_whoever_acts_at_once,
    log::numbers_are_dense_under_mixed_load_and_the_log_verifies,
    log::an_event_that_cannot_be_recorded_is_refused_alone,
    log::recorded_time_does_not_go_back_with_the_clock,
    log::a_newer_checkpoint_is_not_replaced_by_an_older_one,
    log::a_leaf_says_what_the_log_alone_knows_when_it_takes_it,
    log::the_size_is_told_to_whoever_watches,
    log::an_altered_leaf_and_a_missing_one_are_named,
    pace::a_refusal_is_on_record_for_operators_and_in_the_log,
    pace::a_person_s_refusal_is_repeated_over_a_restart_and_to_siblings,
    pace::of_64_at_once_an_agent_asks_twenty_times,
    pace::of_64_at_once_the_same_grant_is_given_once,
    pace::of_64_at_once_there_are_so_many_open_of_one_playbook,
    pace::of_64_refusals_at_once_one_cooldown_comes,
    pace::quarantine_outlives_a_restart_and_ends_by_a_person_alone,
    pace::what_is_counted_is_forgotten_when_it_says_nothing_any_more,
    pace::m_46_an_agent_that_hammers_is_on_record_in_sums,
    pace::words_about_an_intent_that_ended_are_on_record_in_sums,
    pace::a_change_with_the_same_key_is_made_once,
    pace::many_at_once_with_one_key_complete_once,
    pace::a_grant_after_a_refusal_is_counted_against_no_budget,
    replays::oauth_21_replay_racing_of_64_who_show_one_proof_one_is_fresh,
    replays::oauth_21_replay_after_restart_of_a_proof_is_refused,
    replays::cve_2020_5300_the_jti_of_an_assertion_is_remembered_durably,
    replays::oauth_7_5_a_proof_is_remembered_to_the_last_instant_and_not_past_it,
    replays::what_was_forgotten_stays_refused_when_the_clock_steps_back,
    replays::proofs_whose_time_is_over_do_not_pile_up,
    replays::oauth_7_6_one_proof_more_than_there_is_room_for_is_refused,
    replays::of_several_proofs_all_are_remembered_or_none,
    replays::oauth_7_5_of_64_uses_with_one_proof_one_is_redeemed_in_one_commit,
    replays::a_proof_shown_for_a_use_that_is_refused_counts_no_more,
    replays::oauth_7_6_a_proof_whose_commit_fails_is_answered_as_neither,
    pace::one_person_has_one_hourly_limit_whichever_door_they_come_through,
    pace::what_is_asked_for_another_costs_whoever_asked,
    rows::a_damaged_intent_is_a_clear_error_and_its_neighbours_live,
    rows::a_damaged_grant_keeps_nobody_from_seeing_what_waits,
    rows::a_damaged_intent_holds_up_nobody_elses_end,
    rows::pages_of_what_has_not_ended_skip_nobody,
    rows::a_step_of_an_authority_is_taken_once_with_its_leaf,
    rows::what_is_followed_of_an_upstream_is_on_record_with_its_leaf,
    rows::entries_are_unique_by_id_and_by_spiffe_id,
    rows::an_entry_may_come_and_go_in_one_batch,
    templated::a_template_gives_no_more_than_its_bound_to_all_who_ask_at_once,
    templated::what_others_made_does_not_count_against_a_template,
    templated::every_change_of_the_entries_is_counted_and_nothing_else,
}
