-- Finding loans in the order of their ids, in pages that show the loans of one moment.

-- The default is set in a second step, so existing rows keep null and the table is not rewritten.
ALTER TABLE public.loans ADD COLUMN created_in xid8;
ALTER TABLE public.loans ALTER COLUMN created_in SET DEFAULT pg_current_xact_id();
COMMENT ON COLUMN public.loans.created_in IS
    'the transaction that created the loan, in the cluster of that time; null: before that was noted';

DROP TRIGGER loans_terms_stand ON public.loans;
CREATE TRIGGER loans_terms_stand BEFORE UPDATE ON public.loans
    FOR EACH ROW WHEN (
        (OLD.loan_id, OLD.start_date, OLD.initial_amt, OLD.currency, OLD.exponent, OLD.recorded_at, OLD.posted_by,
         OLD.created_in)
        IS DISTINCT FROM
        (NEW.loan_id, NEW.start_date, NEW.initial_amt, NEW.currency, NEW.exponent, NEW.recorded_at, NEW.posted_by,
         NEW.created_in)
        OR NEW.version < OLD.version OR NEW.turnover < OLD.turnover)
    EXECUTE FUNCTION public.refuse_change();

-- Each ends with loan_id: a page of loans that agree in the columns before it is one range of the index.
CREATE INDEX loans_by_currency ON public.loans (currency, loan_id);
CREATE INDEX loans_by_start ON public.loans (start_date, loan_id);
CREATE INDEX loans_by_currency_and_start ON public.loans (currency, start_date, loan_id);
