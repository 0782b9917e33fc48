CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE loaner_owner;
-- loaner_owner then owns what `migrate` creates, so that this user can be dropped.
ALTER ROLE "{{name}}" SET role = 'loaner_owner';
