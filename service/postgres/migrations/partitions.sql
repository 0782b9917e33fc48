-- Recreates the ledger's tables, partitioned by the hash of loan_id, with their rows, keys, indexes, triggers and
-- rights. The setting loaner.partitions is the number of partitions. Definitions are read from the catalog, so they
-- match the migrations that have run.
--
-- Rows are copied and indexed in a separate schema. Until then the ledger can be read, but not posted to. Only the
-- exchange of the tables at the end blocks readers. A later migration that adds a statement trigger must also add it to
-- the partitions.

SET LOCAL search_path = pg_catalog;  -- definitions then contain schema names

SELECT pg_advisory_xact_lock(x'6C6F6164'::int);  -- excludes `load`, which would wait for the locks
LOCK TABLE public.loans, public.loan_events, public.loan_terms, public.loan_schedules IN EXCLUSIVE MODE;

CREATE SCHEMA partitioning;

DO $$
DECLARE
    parts  CONSTANT int := current_setting('loaner.partitions');
    tables CONSTANT text[] := ARRAY['loans', 'loan_events', 'loan_terms', 'loan_schedules'];  -- referenced first
    name   text;
    old    regclass;
    part   text;
    made   text;
    later  text[] := '{}';
BEGIN
    FOREACH name IN ARRAY tables LOOP
        old := format('public.%I', name);
        EXECUTE format('CREATE TABLE partitioning.%I (LIKE %s INCLUDING ALL EXCLUDING INDEXES)
                        PARTITION BY HASH (loan_id)', name, old);
        FOR n IN 0 .. parts - 1 LOOP
            EXECUTE format('CREATE TABLE partitioning.%I PARTITION OF partitioning.%I
                            FOR VALUES WITH (MODULUS %s, REMAINDER %s)', name || '_p' || n, name, parts, n);
        END LOOP;
        EXECUTE format('INSERT INTO partitioning.%I OVERRIDING SYSTEM VALUE SELECT * FROM %s', name, old);

        -- primary keys and unique constraints first: foreign keys depend on them
        FOR made IN
            SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', old, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE conrelid = old AND contype IN ('p', 'u', 'f') AND conparentid = 0
            ORDER BY contype = 'f', conname
        LOOP
            EXECUTE replace(made, 'public.', 'partitioning.');
        END LOOP;
        FOR made IN
            SELECT pg_get_indexdef(indexrelid) FROM pg_index
            WHERE indrelid = old AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = old)
        LOOP
            EXECUTE replace(replace(made, ' ON ONLY ', ' ON '), 'public.', 'partitioning.');
        END LOOP;

        SELECT later || coalesce(array_agg(pg_get_triggerdef(oid)), '{}') INTO later
        FROM pg_trigger WHERE tgrelid = old AND NOT tgisinternal;
        -- Row triggers also fire in partitions. Statement triggers fire only on the table that the statement names.
        FOR n IN 0 .. parts - 1 LOOP
            SELECT later || coalesce(array_agg(replace(pg_get_triggerdef(oid), format(' ON public.%I ', name),
                                                       format(' ON public.%I ', name || '_p' || n))), '{}') INTO later
            FROM pg_trigger WHERE tgrelid = old AND NOT tgisinternal AND tgtype & 1 = 0;
        END LOOP;
        -- Rights are granted on the parent table only: other users cannot access a partition directly.
        SELECT later || coalesce(array_agg(format('GRANT %s ON %s TO %s', privilege_type, old, grantee::regrole)), '{}')
        INTO later
        FROM pg_class, aclexplode(relacl) AS granted WHERE pg_class.oid = old AND grantee NOT IN (0, relowner);
    END LOOP;

    PERFORM setval(pg_get_serial_sequence('partitioning.loan_events', 'tx_id'), last_value, is_called)
    FROM public.loan_events_tx_id_seq;

    DROP TABLE public.loan_schedules, public.loan_terms, public.loan_events, public.loans;
    FOR part IN SELECT relname FROM pg_class WHERE relnamespace = 'partitioning'::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE partitioning.%I SET SCHEMA public', part);
    END LOOP;
    FOREACH made IN ARRAY later LOOP
        EXECUTE made;
    END LOOP;
END
$$;

DROP SCHEMA partitioning;
ANALYZE public.loans, public.loan_events, public.loan_terms, public.loan_schedules;
